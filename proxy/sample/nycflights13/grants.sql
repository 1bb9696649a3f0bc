-- The role that answers requests without a token, and what it may do with the sample. May be run again.

do $$
begin
    create role web_anon nologin;
exception
    -- Roles belong to the whole cluster: another database of it, or another session just now, may have made this one.
    when duplicate_object or unique_violation then null;
end
$$;

grant usage on schema public to web_anon;
grant select, insert, update, delete on airlines, airports, planes, flights, weather to web_anon;
grant usage, select on all sequences in schema public to web_anon;
