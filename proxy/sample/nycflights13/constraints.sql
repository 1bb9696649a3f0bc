-- To be run after the rows are in: checking and indexing once is cheaper than row by row, and a foreign key that is
-- NOT VALID can only be declared over rows that are there already.

alter table flights
    add constraint flights_carrier_fkey foreign key (carrier) references airlines (carrier),
    add constraint flights_origin_fkey foreign key (origin) references airports (faa);

alter table weather
    add constraint weather_origin_fkey foreign key (origin) references airports (faa);

-- About one flight in six was flown by a plane which the registry extract does not have. NOT VALID says exactly that:
-- rows that are here may break the rule, rows to come may not, and the relationship is known to whoever embeds.
alter table flights
    add constraint flights_tailnum_fkey foreign key (tailnum) references planes (tailnum) not valid;

-- Two relationships hold almost and are left out. flights.dest: Puerto Rico and the Virgin Islands (SJU, BQN, STT, PSE)
-- are not among the airports. flights (origin, time_hour): a few hours have no weather.

create index flights_carrier_idx on flights (carrier);
create index flights_origin_dest_idx on flights (origin, dest);
create index flights_tailnum_idx on flights (tailnum);
create index flights_time_hour_idx on flights (time_hour);

analyze;
