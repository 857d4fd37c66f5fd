use super::super::tell::Span;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_secs(10);

const RULES: Rules = Rules {
    users: 9,
    heartbeat: BEAT,
    bus: true,
};

fn user(name: &str) -> User {
    User::named(name).unwrap()
}

fn id() -> RoomId {
    RoomId::new("r").unwrap()
}

/// A room in simulated time: it is looked at exactly when it says that something is due.
struct Run {
    room: Room,
    began: Instant,
    now: Instant,
    over: bool,
}

impl Run {
    fn new(rules: Rules, users: &[&str]) -> Self {
        let now = Instant::now();
        let users: Vec<_> = users.iter().map(|name| user(name)).collect();
        Self {
            room: Room::new(rules, users.iter(), 0, now),
            began: now,
            now,
            over: false,
        }
    }

    /// What is done for so long, each with the milliseconds since the beginning.
    fn run(&mut self, span: Duration) -> Vec<String> {
        let until = self.now + span;
        let mut done = Vec::new();
        while let Some(due) = self.room.due().filter(|due| *due <= until && !self.over) {
            self.now = self.now.max(due);
            let tick = self.room.tick(&id(), self.now, 1.0);
            let at = (self.now - self.began).as_millis();
            done.extend(
                tick.ask
                    .map(|at_once| format!("{at} ask{}", if at_once { "!" } else { "" })),
            );
            for tell in tick.tells {
                let kind = if tell.span.is_some() { "all" } else { "change" };
                let here: Vec<_> = tell.here.iter().map(User::name).collect();
                let left: Vec<_> = tell.left.iter().map(UserId::as_str).collect();
                done.push(format!("{at} {kind} +{} -{}", here.join(","), left.join(",")));
            }
            if tick.show != Show::Nobody {
                done.push(format!("{at} {:?}", tick.show));
            }
            self.over = tick.over;
            assert!(done.len() < 1000, "it never rests: {done:?}");
        }
        self.now = until;
        done
    }

    fn is(&mut self, span: Duration, expected: &[&str]) {
        assert_eq!(self.run(span), expected);
    }
}

fn whole(no: u64, names: &[&str]) -> Tell {
    Tell {
        no,
        online: names.len(),
        lasts: 3 * BEAT,
        span: Some(Span::default()),
        here: names.iter().map(|name| user(name)).collect(),
        left: Vec::new(),
    }
}

fn other() -> MessageId {
    MessageId::from_u128(1)
}

#[test]
fn one_node_alone_tells_at_once_and_asks_nobody() {
    let mut run = Run::new(Rules { bus: false, ..RULES }, &["ann"]);
    run.room.watch(false, run.now);
    run.is(100 * SECOND, &["0 Everybody"]);
    run.room.came(&user("bob"));
    run.is(SECOND / 2, &["100000 Everybody"]);
    run.room.came(&user("carl"));
    run.is(100 * SECOND, &["101000 Everybody"]);
    run.room.came(&user("carl"));
    run.room.watch(false, run.now);
    run.is(SECOND, &["200500 Newcomers"]);
    run.room.unwatch();
    run.room.unwatch();
    run.is(SECOND, &[]);
    assert!(run.over);
}

#[test]
fn other_hubs_have_a_moment_to_answer() {
    let mut run = Run::new(RULES, &["ann"]);
    run.room.watch(true, run.now);
    run.is(SECOND / 10, &["0 ask!"]);
    run.room.hear(other(), &whole(1, &["bob"]), run.now);
    run.is(SECOND, &["300 Everybody"]);
    let presence = run.room.look(run.now).unwrap();
    assert_eq!((presence.online, presence.users), (2, vec![user("ann"), user("bob")]));
}

#[test]
fn a_bus_that_listens_later_is_waited_for_a_while() {
    let mut run = Run::new(RULES, &["ann"]);
    run.room.watch(false, run.now);
    assert_eq!(run.room.look(run.now), Err(Some(run.now + PATIENCE)));
    run.is(SECOND / 2, &[]);
    run.room.listens(run.now);
    run.is(SECOND, &["500 ask!", "800 Everybody"]);
    let mut run = Run::new(RULES, &["ann"]);
    run.room.watch(false, run.now);
    run.is(9 * SECOND, &["1000 Everybody"]);
    run.room.listens(run.now);
    run.is(SECOND / 2, &["9000 ask!"]);
}

#[test]
fn who_is_asked_tells_and_then_once_a_heartbeat() {
    let mut run = Run::new(RULES, &["ann", "bob"]);
    run.room.asked(3 * BEAT, true, run.now);
    run.is(5 * SECOND, &["0 all +ann,bob -"]);
    run.room.left(user("bob").id());
    run.room.came(&user("carl"));
    run.is(SECOND, &["5000 change +carl -", "5000 change + -bob"]);
    run.is(BEAT, &["10000 all +ann,carl -"]);
    run.room.asked(3 * BEAT, false, run.now);
    run.is(2 * BEAT, &["20000 all +ann,carl -", "30000 all +ann,carl -"]);
    run.is(BEAT, &["40000 all +ann,carl -"]);
    assert!(run.over, "nobody asked any more");
    assert_eq!(run.now - run.began, Duration::from_millis(46_000));
}

#[test]
fn many_who_ask_are_answered_together() {
    let mut run = Run::new(RULES, &["ann"]);
    let mut all = Vec::new();
    for _ in 0..100 {
        run.room.asked(3 * BEAT, true, run.now);
        all.extend(run.run(SECOND / 100));
    }
    let times: Vec<_> = all.iter().map(|done| done.split(' ').next().unwrap()).collect();
    assert_eq!(times, ["0", "200", "400", "600", "800", "1000"]);
}

/// Two hubs begin to ask in turn: both know of each other then, and rest.
#[test]
fn who_asks_anew_learns_who_else_wants_to_know() {
    let mut run = Run::new(RULES, &["ann"]);
    run.room.watch(true, run.now);
    run.is(SECOND, &["0 ask!", "300 Everybody"]);
    run.room.asked(3 * BEAT, true, run.now);
    run.is(SECOND, &["1000 ask", "1000 all +ann -"]);
    run.room.asked(3 * BEAT, false, run.now);
    run.is(SECOND, &[]);
}

#[test]
fn an_empty_room_is_told_once() {
    let mut run = Run::new(RULES, &["ann"]);
    run.room.asked(3 * BEAT, true, run.now);
    run.is(SECOND, &["0 all +ann -"]);
    run.room.left(user("ann").id());
    run.is(5 * SECOND, &["1000 change + -ann"]);
    run.room.came(&user("ann"));
    run.is(SECOND, &["6000 change +ann -"]);
    run.room.left(user("ann").id());
    run.is(100 * SECOND, &["7000 change + -ann"]);
    assert!(run.over);
}

#[test]
fn numbers_rise_with_everything_that_is_told() {
    let now = Instant::now();
    let mut room = Room::new(RULES, [user("ann")].iter(), 41, now);
    room.asked(3 * BEAT, true, now);
    room.came(&user("bob"));
    let tick = room.tick(&id(), now, 0.0);
    let numbers: Vec<_> = tick.tells.iter().map(|tell| tell.no).collect();
    assert_eq!((numbers, room.no()), (vec![42, 43], 43));
    let goodbye = room.goodbye(5 * SECOND, now).unwrap();
    assert_eq!((goodbye.no, goodbye.online, goodbye.lasts), (44, 2, 5 * SECOND));
    assert!(room.goodbye(SECOND, now + 3 * BEAT).is_none(), "nobody asks");
}

/// A hub stops before it has told what changed last: it says until when that holds which it has told.
#[test]
fn a_goodbye_is_of_what_was_told() {
    let now = Instant::now();
    let mut room = Room::new(RULES, [user("ann")].iter(), 0, now);
    room.asked(3 * BEAT, true, now);
    room.came(&user("bob"));
    room.tick(&id(), now, 0.0);
    room.came(&user("carl"));
    assert_eq!(room.goodbye(SECOND, now).map(|tell| tell.online), Some(2));
    for name in ["ann", "bob", "carl"] {
        room.left(user(name).id());
    }
    assert_eq!(room.goodbye(SECOND, now).map(|tell| tell.online), Some(2));
}

/// With room for one name: ann, who has it, is away just when somebody asks, and back before others were told that she left.
#[test]
fn who_is_away_for_a_moment_is_counted_by_those_who_asked_then() {
    let mut now = Instant::now();
    let rules = Rules { users: 1, ..RULES };
    let mut room = Room::new(rules, [user("ann"), user("bob")].iter(), 0, now);
    room.asked(3 * BEAT, true, now);
    room.came(&user("carl"));
    room.tick(&id(), now, 1.0);

    now += SECOND / 2;
    room.left(user("ann").id());
    room.watch(true, now);
    room.asked(3 * BEAT, true, now);
    let mut tells = room.tick(&id(), now, 1.0).tells;
    room.came(&user("ann"));
    tells.extend(room.tick(&id(), now + SECOND, 1.0).tells);

    let last = tells.last().expect("who asks at once is told");
    assert_eq!((last.online, &last.here[..]), (3, &[user("ann")][..]));
    let (frame, _) = room.next_frame(&id(), 0).expect("members are told after a second");
    let frame: serde_json::Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!((&frame["online"], &frame["users"][0]["id"]), (&3.into(), &"ann".into()));
}

#[test]
fn a_dead_hub_is_forgotten_in_time() {
    let mut run = Run::new(RULES, &["ann"]);
    run.room.watch(true, run.now);
    run.room.hear(other(), &whole(1, &["bob"]), run.now);
    run.run(SECOND);
    let shows: Vec<_> = run
        .run(60 * SECOND)
        .into_iter()
        .filter(|done| done.ends_with("body"))
        .collect();
    assert_eq!(shows, ["32000 Everybody"]);
    assert_eq!(run.room.look(run.now).unwrap().online, 1);
}

#[test]
fn a_server_that_asks_is_remembered_for_three_heartbeats() {
    let mut run = Run::new(RULES, &[]);
    run.room.hold(run.now + 3 * BEAT, true, run.now);
    let done = run.run(3 * BEAT - SECOND);
    assert_eq!(done, ["0 ask!", "300 Everybody", "10000 ask", "20000 ask"]);
    assert!(!run.over);
    run.run(SECOND);
    assert!(run.over);
}

/// Whatever an ask or a hub says of times, it ends.
#[test]
fn no_time_is_too_long_to_reckon_with() {
    let mut run = Run::new(RULES, &["ann"]);
    run.room.asked(Duration::MAX, true, run.now);
    run.room.watch(true, run.now);
    let mut tell = whole(1, &["bob"]);
    tell.lasts = Duration::MAX;
    run.room.hear(other(), &tell, run.now);
    run.run(SECOND);
    assert_eq!(run.room.look(run.now).unwrap().online, 2);
    run.room.unwatch();
    run.run(LONGEST);
    assert!(run.over);
}
