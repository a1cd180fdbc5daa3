// Shows what arrives, and answers it.
use a2a_blocking::{Client, InboxPoller, Verdict};

fn main() -> Result<(), a2a_blocking::Error> {
    let poller = InboxPoller::builder(Client::from_env()?).spawn(|push| {
        // Fit for a prompt or a terminal: nothing in it is forged.
        println!("{}", push.envelope().content());
        Verdict::after(push.reply("on it"))
    })?;
    println!("ended: {:?}", poller.join());
    Ok(())
}
