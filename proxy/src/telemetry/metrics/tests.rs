use super::*;

fn metrics() -> Metrics {
    Metrics::new(Duration::from_millis(100))
}

#[test]
fn what_a_worker_counted_by_itself_is_added_once() {
    let metrics = metrics();
    let mut hits = metrics.hits();
    hits.count(StatusCode::OK, Duration::from_micros(3));
    hits.count(StatusCode::NOT_MODIFIED, Duration::from_micros(3));
    hits.count(StatusCode::OK, Duration::from_micros(3));
    metrics.add(&mut hits);
    metrics.add(&mut hits);
    let text = metrics.render(Gauges::default());
    for line in [
        "transom_requests_total{outcome=\"hit_l1\",route=\"rest\",status=\"200\"} 2",
        "transom_requests_total{outcome=\"hit_l1\",route=\"rest\",status=\"304\"} 1",
        "transom_tier_lookups_total{result=\"hit\",tier=\"l1\"} 3",
        "transom_request_duration_seconds_count{outcome=\"hit_l1\"} 3",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[test]
fn every_metric_of_the_contract_is_there_from_the_start() {
    let text = metrics().render(Gauges::default());
    for series in [
        "transom_requests_total{outcome=\"hit_l1\",route=\"rest\",status=\"200\"} 0",
        "transom_requests_total{outcome=\"error\",route=\"rest\",status=\"503\"} 0",
        "transom_tier_lookups_total{result=\"unproven\",tier=\"l2\"} 0",
        "transom_request_duration_seconds_count{outcome=\"stale\"} 0",
        "transom_origin_duration_seconds_bucket{operation=\"read\",le=\"0.00005\"} 0",
        "transom_slow_queries_total{operation=\"schema\"} 0",
        "transom_l1_entries 0",
        "transom_l1_bytes 0",
        "transom_pool_connections{state=\"idle\"} 0",
        "transom_pool_connections{state=\"in_use\"} 0",
        "transom_pool_waiting_reads 0",
        "transom_collapsed_total{end=\"impatient\"} 0",
        "transom_fill_lease_total{result=\"waited-hit\"} 0",
        "transom_audit_reads_total 0",
        "transom_audit_stale_total 0",
        "transom_audit_skipped_total{reason=\"queue-full\"} 0",
        "transom_announcements_total{source=\"purge\"} 0",
        "transom_coherence_watermark 0",
        "transom_lease_held 0",
        "transom_fill_lease_waiting 0",
        "transom_feed_leader 0",
        "transom_feed_lag_seconds 0",
        "transom_feed_epochs_total{reason=\"slot\"} 0",
        "transom_announce_delay_seconds_count 0",
        "transom_resyncs_total{reason=\"epoch\"} 0",
        "transom_lease_lapses_total{reason=\"poll\"} 0",
        "transom_l2_unreadable_total{reason=\"forged\"} 0",
        "transom_stale_served_total{reason=\"stale-if-error\"} 0",
        "transom_schema_reloads_total{result=\"failed\"} 0",
    ] {
        assert!(text.contains(series), "{series} is missing in\n{text}");
    }
}

#[test]
fn what_happens_is_counted_under_its_own_name() {
    let metrics = metrics();
    let fast = Duration::from_micros(60);
    metrics.request(Route::Rest, StatusCode::OK, RequestOutcome::HitL1, fast);
    metrics.request(Route::Other, StatusCode::IM_A_TEAPOT, RequestOutcome::Error, fast);
    metrics.request(Route::Rest, StatusCode::from_u16(999).unwrap(), RequestOutcome::Error, fast);
    metrics.tier_lookup(Tier::L2, TierResult::Incoherent);
    metrics.collapsed(CollapseEnd::Shared);
    metrics.fill_lease(LeaseResult::Voided);
    metrics.audit_read();
    metrics.audit_stale();
    metrics.audit_skipped(AuditSkip::PoolBusy);
    metrics.announced(Source::Write);
    metrics.announce_delay(fast);
    metrics.feed_epoch(Break::Database);
    metrics.resync(ResyncReason::Gap);
    metrics.stale_served(StaleReason::RequestAllows);
    metrics.schema_reload(Reload::Changed);
    assert!(!metrics.origin(Operation::Read, Duration::from_millis(100)));
    assert!(metrics.origin(Operation::Write, Duration::from_millis(101)));
    let feed_lag = Some(Duration::from_millis(250));
    let gauges = Gauges { watermark: 42, lease_held: true, pool_idle: 3, feed_lag, ..Gauges::default() };
    let text = metrics.render(gauges);
    for series in [
        "transom_requests_total{outcome=\"hit_l1\",route=\"rest\",status=\"200\"} 1",
        "transom_requests_total{outcome=\"error\",route=\"other\",status=\"418\"} 1",
        "transom_requests_total{outcome=\"error\",route=\"rest\",status=\"999\"} 1",
        "transom_request_duration_seconds_bucket{outcome=\"hit_l1\",le=\"0.0001\"} 1",
        "transom_tier_lookups_total{result=\"incoherent\",tier=\"l2\"} 1",
        "transom_collapsed_total{end=\"shared\"} 1",
        "transom_fill_lease_total{result=\"voided\"} 1",
        "transom_audit_reads_total 1",
        "transom_audit_stale_total 1",
        "transom_audit_skipped_total{reason=\"pool-busy\"} 1",
        "transom_announcements_total{source=\"write\"} 1",
        "transom_resyncs_total{reason=\"gap\"} 1",
        "transom_stale_served_total{reason=\"max-stale\"} 1",
        "transom_schema_reloads_total{result=\"changed\"} 1",
        "transom_origin_duration_seconds_count{operation=\"read\"} 1",
        "transom_slow_queries_total{operation=\"read\"} 0",
        "transom_slow_queries_total{operation=\"write\"} 1",
        "transom_coherence_watermark 42",
        "transom_lease_held 1",
        "transom_feed_leader 1",
        "transom_feed_lag_seconds 0.25",
        "transom_feed_epochs_total{reason=\"database\"} 1",
        "transom_announce_delay_seconds_bucket{le=\"0.0001\"} 1",
        "transom_pool_connections{state=\"idle\"} 3",
    ] {
        assert!(text.contains(series), "{series} is missing in\n{text}");
    }
}

#[test]
fn the_order_of_all_is_the_order_of_declaration() {
    assert!(Tier::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(TierResult::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(RequestOutcome::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(Route::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(Reload::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(Operation::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(LeaseResult::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(AuditSkip::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(CollapseEnd::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(ResyncReason::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(StaleReason::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(Break::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    assert!(Source::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
}
