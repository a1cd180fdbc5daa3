// Forwards the messages that peers send to each of two workspaces to the human of the other one.
use std::env;
use std::error::Error;
use std::thread;

use a2a_blocking::{Client, ClientBuilder, InboxMessageKind, InboxPoller, PollerHandle, Stats, Verdict};

/// Returns a client for the workspace of variables such as `OPS_WORKSPACE_ID` and `OPS_TOKEN_FILE`.
fn client(prefix: &str) -> Result<Client, Box<dyn Error>> {
    let builder = ClientBuilder::from_env().workspace_id(env::var(format!("{prefix}_WORKSPACE_ID"))?);
    Ok(builder.token_file(env::var(format!("{prefix}_TOKEN_FILE"))?).build()?)
}

fn forward(from: &Client, to: &Client) -> Result<PollerHandle, a2a_blocking::Error> {
    let to = to.clone();
    InboxPoller::builder(from.clone()).spawn(move |message| match message.kind() {
        InboxMessageKind::Peer => Verdict::after(to.notify(message.envelope().content())),
        _ => Verdict::Ack,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let (ops, lab) = (client("OPS")?, client("LAB")?);
    let pollers = [forward(&ops, &lab)?, forward(&lab, &ops)?];
    // When one poller ends, for example because its workspace was removed, the other one is stopped.
    thread::scope(|scope| {
        for poller in &pollers {
            scope.spawn(|| {
                println!("ended: {:?}", poller.join());
                pollers.iter().for_each(PollerHandle::stop);
            });
        }
    });
    let (ops_labels, lab_labels) = ([("workspace", ops.workspace_id())], [("workspace", lab.workspace_id())]);
    print!("{}", Stats::prometheus(&[(&ops_labels, ops.stats()), (&lab_labels, lab.stats())]));
    Ok(())
}
