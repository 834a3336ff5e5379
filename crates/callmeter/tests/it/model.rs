//! The spool against a model that a reader takes in at a glance: a list of rows, a mark, a few sums.

use callmeter::seams::{Disk as _, SpoolInlet, SpoolOutlet};
use callmeter_core::{Conservation, DropReason};
use proptest::prelude::*;

use crate::homes::{TestHome, call, place};

/// What may happen to a spool.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The owner appends so many calls, and counts so many losses.
    Append { calls: u8, lost: u8, sync: bool },
    /// The shipper reads so many, and the store answers for them, refusing some as expired.
    Acknowledge { rows: u8, expired: u8 },
    /// The shipper sets the first one that may leave aside.
    Reject,
    /// Somebody needs room.
    DropOldest { rows: u8 },
    /// The shipper dies; another one opens the spool.
    Reopen,
    /// Free pages go back to the disk.
    GiveBackSpace,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..40_u8, 0..3_u8, any::<bool>())
            .prop_map(|(calls, lost, sync)| Step::Append { calls, lost, sync }),
        3 => (1..60_u8, 0..4_u8).prop_map(|(rows, expired)| Step::Acknowledge { rows, expired }),
        1 => Just(Step::Reject),
        1 => (1..30_u8).prop_map(|rows| Step::DropOldest { rows }),
        1 => Just(Step::Reopen),
        1 => Just(Step::GiveBackSpace),
    ];
    proptest::collection::vec(step, 1..40)
}

#[derive(Debug, Default)]
struct Model {
    /// Rows that wait: number and call.
    rows: Vec<(i64, u64)>,
    last_seq: i64,
    ready_seq: i64,
    /// Appends since the mark was raised.
    appends: u32,
    figures: Conservation,
}

impl Model {
    fn ready(&self) -> Vec<(i64, u64)> {
        let ready = self.rows.iter().filter(|(seq, _)| *seq <= self.ready_seq);
        ready.copied().collect()
    }

    fn forget(&mut self, seqs: &[i64]) {
        self.rows.retain(|(seq, _)| !seqs.contains(seq));
        self.figures.spooled = self.rows.len() as u64;
    }

    fn append(&mut self, calls: u8, lost: u8) {
        self.appends += 1;
        if calls == 0 || self.appends == 16 {
            self.ready_seq = self.last_seq;
            self.appends = 0;
        }
        for _ in 0..calls {
            self.last_seq += 1;
            self.rows
                .push((self.last_seq, self.last_seq.cast_unsigned()));
        }
        self.figures.finished += u64::from(calls) + u64::from(lost);
        self.figures.spooled = self.rows.len() as u64;
        self.figures
            .add_dropped(DropReason::FlightFull, lost.into());
    }
}

fn apply(
    home: &TestHome,
    step: Step,
    model: &mut Model,
    inlet: &mut dyn SpoolInlet,
    outlet: &mut Box<dyn SpoolOutlet>,
) {
    match step {
        Step::Append { calls, lost, sync } => {
            let first = model.last_seq.cast_unsigned() + 1;
            let batch: Vec<_> = (first..first + u64::from(calls)).map(call).collect();
            let lost_here = [(DropReason::FlightFull, u64::from(lost))];
            inlet.append(&batch, &lost_here, sync).unwrap();
            model.append(calls, lost);
        }
        Step::Acknowledge { rows, expired } => {
            let seqs: Vec<i64> = outlet
                .ready_rows(0, i64::MAX, rows.into())
                .unwrap()
                .iter()
                .map(|row| row.seq)
                .collect();
            // Twice: the first answer may have been lost.
            outlet.acknowledge(&seqs, expired.into()).unwrap();
            outlet.acknowledge(&seqs, expired.into()).unwrap();
            let expired = u64::from(expired).min(seqs.len() as u64);
            model.figures.acknowledged += seqs.len() as u64 - expired;
            model.figures.rejected += expired;
            model.forget(&seqs);
        }
        Step::Reject => {
            if let Some(row) = outlet.ready_rows(0, i64::MAX, 1).unwrap().first() {
                outlet.reject(row, "poison", crate::homes::START).unwrap();
                outlet.reject(row, "poison", crate::homes::START).unwrap();
                model.figures.rejected += 1;
                model.forget(&[row.seq]);
            }
        }
        Step::DropOldest { rows } => {
            let dropped = outlet.drop_oldest(rows.into()).unwrap();
            let gone: Vec<i64> = model
                .ready()
                .iter()
                .take(rows.into())
                .map(|(seq, _)| *seq)
                .collect();
            assert_eq!(dropped, gone.len() as u64);
            model.figures.add_dropped(DropReason::Ceiling, dropped);
            model.forget(&gone);
        }
        Step::Reopen => *outlet = home.disk().open(inlet.name()).unwrap(),
        Step::GiveBackSpace => outlet.give_back_space().unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_spool_does_what_the_model_does(steps in steps()) {
        let home = place();
        let mut inlet = home.spool();
        let mut outlet = home.disk().open(inlet.name()).unwrap();
        let mut model = Model::default();
        for step in steps {
            apply(&home, step, &mut model, &mut *inlet, &mut outlet);
            let ready: Vec<(i64, u64)> = outlet
                .ready_rows(0, i64::MAX, usize::MAX)
                .unwrap()
                .iter()
                .map(|row| (row.seq, row.record.as_ref().unwrap().call_id.lo().cast_unsigned()))
                .collect();
            prop_assert_eq!(ready, model.ready(), "after {:?}", step);
            let figures = outlet.standing().unwrap();
            prop_assert_eq!(figures, model.figures, "after {:?}", step);
            prop_assert!(figures.holds());
            prop_assert_eq!(inlet.last_seq(), model.last_seq);
            prop_assert_eq!(inlet.has_unready(), model.ready_seq < model.last_seq);
        }
        // The owner dies: everything may leave, and does.
        drop((inlet, outlet));
        home.ship_all();
        let stored: Vec<u64> = model.rows.iter().map(|(_, call)| *call).collect();
        prop_assert_eq!(home.stored(), stored);
        prop_assert!(home.standing().holds());
    }
}
