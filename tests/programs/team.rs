// Lists the peers of a workspace and tells its human who is away. For a cron job: a failure is its exit status.
use a2a_blocking::Client;

fn main() -> Result<(), a2a_blocking::Error> {
    let client = Client::from_env()?;
    let mut away = Vec::new();
    for peer in client.peers()? {
        let (name, status) = (peer.name().unwrap_or("?"), peer.status().unwrap_or("unknown"));
        println!("{status:<10} {name}");
        if status != "online" {
            away.push(name.to_owned());
        }
    }
    if !away.is_empty() {
        client.notify(format!("away: {}", away.join(", ")))?;
    }
    Ok(())
}
