// Two workspaces in one process: what peers say to the one, the human of the other reads.
use std::env;
use std::error::Error;
use std::thread;

use a2a_blocking::{Client, ClientBuilder, InboxPoller, PollerHandle, InboxMessageKind, Stats, Verdict};

/// One side, of variables of its own: as `OPS_WORKSPACE_ID` and `OPS_TOKEN_FILE`.
fn side(name: &str) -> Result<Client, Box<dyn Error>> {
    let builder = ClientBuilder::from_env().workspace_id(env::var(format!("{name}_WORKSPACE_ID"))?);
    Ok(builder.token_file(env::var(format!("{name}_TOKEN_FILE"))?).build()?)
}

fn carry(from: &Client, to: &Client) -> Result<PollerHandle, a2a_blocking::Error> {
    let to = to.clone();
    InboxPoller::builder(from.clone()).spawn(move |push| match push.kind() {
        InboxMessageKind::PeerAgent => Verdict::after(to.notify(push.envelope().content())),
        _ => Verdict::Ack,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let (ops, lab) = (side("OPS")?, side("LAB")?);
    let pollers = [carry(&ops, &lab)?, carry(&lab, &ops)?];
    // Where one ends, as when its workspace was removed, the other does.
    thread::scope(|scope| {
        for poller in &pollers {
            scope.spawn(|| {
                println!("ended: {:?}", poller.join());
                pollers.iter().for_each(PollerHandle::stop);
            });
        }
    });
    let of = |client: &Client| (client.workspace_id().to_owned(), client.stats());
    let [(ops, ops_stats), (lab, lab_stats)] = [of(&ops), of(&lab)];
    print!("{}", Stats::prometheus(&[(&[("workspace", &ops)], ops_stats), (&[("workspace", &lab)], lab_stats)]));
    Ok(())
}
