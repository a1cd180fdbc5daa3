// Prints each message of the inbox and answers it.
use a2a_blocking::{Client, InboxPoller, Verdict};

fn main() -> Result<(), a2a_blocking::Error> {
    let poller = InboxPoller::builder(Client::from_env()?).spawn(|message| {
        // The envelope is safe in a terminal and in a prompt: no sender can forge its header.
        println!("{}", message.envelope().content());
        Verdict::after(message.reply("on it"))
    })?;
    println!("ended: {:?}", poller.join());
    Ok(())
}
