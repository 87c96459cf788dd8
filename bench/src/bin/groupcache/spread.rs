//! How evenly keys are spread: of 16 peers, how many keys the most loaded owns for each of the least loaded.

use larder_bench::golang::GoProgram;
use larder_bench::table::{Table, aim};
use larder_peers::Mode;
use larder_peers::ring::Ring;

const PEERS: usize = 16;
const KEYS: usize = 100_000;

fn spread(mode: Mode) -> f64 {
    let peers: Vec<_> = (1..=PEERS).map(|peer| format!("http://10.0.0.{peer}:8080")).collect();
    let ring = Ring::new(mode, 50, None, &peers);
    let mut owned = [0_usize; PEERS];
    for number in 0..KEYS {
        owned[ring.owner(format!("user:{number}").as_bytes()).expect("there are peers")] += 1;
    }
    let (least, most) = (owned.iter().min(), owned.iter().max());
    *most.expect("there are peers") as f64 / *least.expect("there are peers") as f64
}

/// Prints the table; gives lines about the aims.
pub fn report(go: &GoProgram) -> Vec<String> {
    let native = spread(Mode::Native);
    let [theirs] = go.numbers(&format!("spread {PEERS} {KEYS}"));
    println!("### Load: keys user:0 to user:99999 over {PEERS} peers\n");
    let mut table = Table::new(&["ring", "most ÷ least"]);
    table.row(["larder, native".to_owned(), format!("{native:.2}")]);
    table.row(["larder, mailgun-v2".to_owned(), format!("{:.2}", spread(Mode::MailgunV2))]);
    table.row(["mailgun".to_owned(), format!("{theirs:.2}")]);
    println!("{table}");
    vec![aim("16 native peers, most ÷ least", native, native <= 1.15, "≤ 1.15")]
}
