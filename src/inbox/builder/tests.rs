use super::*;

#[test]
fn readme_states_the_defaults() {
    let client = Client::builder().workspace_id("w").build().unwrap();
    let PollerBuilder { interval, heartbeat, backlog, page_size, retry, .. } = PollerBuilder::new(client);
    let secs = |attempt| retry.backoff(attempt, 0.5).as_secs();
    assert_eq!((retry.attempts(), [1, 2, 3, 4].map(secs)), (5, [1, 2, 4, 8]));
    let rows = [
        format!("`interval`, `heartbeat` | {} s, {} s |", interval.as_secs(), heartbeat.unwrap().as_secs()),
        format!("`retry` | five tries, {} to {} s between |", secs(1), secs(4)),
        format!("`backlog`, `page_size` | {} s, {page_size} rows |", backlog.as_secs()),
    ];
    for row in rows {
        assert!(include_str!("../../guide/settings.md").contains(&row), "the guide does not say: {row}");
    }
}
