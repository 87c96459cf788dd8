use larder_registry::model::{Instance, Port, Status};

use super::*;
use crate::names::Domain;

fn record(service: &str, id: &str, status: Status) -> Record {
    let mut instance = Instance { status, ..Instance::new(service, id) };
    instance.address.ip = Some("10.0.0.1".to_owned());
    instance.address.port = Some(Port { number: 80, enabled: true });
    Record::of(&Domain::new("micro").expect("it is a name"), &instance).expect("it has a form")
}

fn set(board: &mut Board, record: &Record, now: u64) {
    board.set(&record.key, Some(record.clone()), at(now));
}

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// What is said: `+` or `-`, and the name.
fn said(board: &mut Board, now: u64) -> Vec<String> {
    let news = board.take_due(at(now)).into_iter();
    let said = news.map(|news| match news {
        News::Here(record) => format!("+{}", record.name.join(".")),
        News::Gone(record) => format!("-{}", record.name.join(".")),
    });
    said.collect()
}

fn answered(board: &Board, names: &[&str], pointers: bool) -> Vec<String> {
    let domain = Domain::new("micro").expect("it is a name");
    let wanted = names.iter().map(|name| {
        let labels: Vec<String> = name.split('.').map(str::to_owned).collect();
        Wanted { name: domain.parted(&labels).expect("it is of the domain"), pointers }
    });
    let answers = board.answers(&wanted.collect::<Vec<_>>()).into_iter();
    let answers = answers.map(|answer| match answer {
        Answer::Instance(record) => record.name.join("."),
        Answer::Service(record) => record.listed.join("."),
    });
    answers.collect()
}

#[test]
fn a_change_is_said_at_once_and_a_second_later() {
    let mut board = Board::default();
    let web = record("web", "1", Status::Up);
    set(&mut board, &web, 0);
    assert_eq!(said(&mut board, 0), ["+1.web.micro"]);
    assert_eq!(board.next_due(), Some(at(1_000)));
    set(&mut board, &web, 500);
    assert_eq!(said(&mut board, 999), [""; 0], "nothing changed");
    assert_eq!(said(&mut board, 1_000), ["+1.web.micro"]);
    assert_eq!((said(&mut board, 9_000), board.next_due()), (vec![], None));
    board.set(&web.key, None, at(9_000));
    for now in [9_000, 10_000] {
        assert_eq!(said(&mut board, now), ["-1.web.micro"]);
    }
    assert_eq!((said(&mut board, 99_000), board.next_due()), (vec![], None));
}

#[test]
fn what_moves_is_in_its_new_place_before_it_leaves_the_old_one() {
    let mut board = Board::default();
    set(&mut board, &record("web", "1", Status::Up), 0);
    assert_eq!(said(&mut board, 0).len(), 1);
    set(&mut board, &record("web", "1", Status::Down), 10);
    assert_eq!(said(&mut board, 10), ["+1.web.micro-larder", "-1.web.micro"]);
    // And back before that was said again: nobody is told that it left where it is.
    set(&mut board, &record("web", "1", Status::Up), 20);
    assert_eq!(said(&mut board, 20), ["+1.web.micro", "-1.web.micro-larder"]);
    assert_eq!(said(&mut board, 1_020), ["+1.web.micro", "-1.web.micro-larder"]);
    assert_eq!(said(&mut board, 9_000), [""; 0]);
}

#[test]
fn what_comes_back_in_time_is_not_said_to_be_gone() {
    let mut board = Board::default();
    let web = record("web", "1", Status::Up);
    set(&mut board, &web, 0);
    board.set(&web.key, None, at(10));
    set(&mut board, &web, 20);
    assert_eq!(said(&mut board, 20), ["+1.web.micro"]);
}

#[test]
fn answers_are_about_what_is_asked_for() {
    let mut board = Board::default();
    for (service, id) in [("Go.Web", "1"), ("Go.Web", "2"), ("api", "1")] {
        set(&mut board, &record(service, id, Status::Up), 0);
    }
    set(&mut board, &record("db", "1", Status::Down), 0);
    let all = ["1.Go.Web.micro", "2.Go.Web.micro"];
    assert_eq!(answered(&board, &["go.WEB.micro", "Go.Web.micro"], true), all);
    assert_eq!(answered(&board, &["2.go.web.micro"], false), ["2.Go.Web.micro"]);
    assert_eq!(answered(&board, &["go.web.micro", "_services.micro"], false), [""; 0]);
    let services = ["api._services.micro", "Go.Web._services.micro"];
    assert_eq!(answered(&board, &["_services.micro"], true), services);
    assert_eq!(answered(&board, &["db.micro"], true), [""; 0], "go-micro must not call it");
    assert_eq!(answered(&board, &["db.micro-larder"], true), ["1.db.micro-larder"]);
    assert_eq!(board.clear().len(), 4);
    assert_eq!(answered(&board, &["api.micro"], true), [""; 0]);
}
