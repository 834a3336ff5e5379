//! The packed form of a book, in which the built-in one is carried: lines of fields, each field after a tab.
//!
//! ```text
//! callmeter-book  1  NAME  VERSION  CONTENT-ID      the id is of all lines below
//! S  PROVIDER  BASIS  END…                          a rule of a provider, and names it does not hold for
//! P  PROVIDER                                       the models below are its
//! X  MODEL                                          a name without a price, because the sources disagree
//! M  MODEL  LETTERS                                 d c @ b: how its snapshots are dated; w: writes cost as input
//! A  ALIAS
//! G  REGION  FACTOR
//! T  FROM  UNTIL  SOURCE                            a period; the rates below are its
//! R  RATE  AMOUNT  …                                of the period, or of the variant above
//! K  OVER  RATE  AMOUNT  …                          above so many input tokens
//! V  VARIANT
//! W  FROM  UNTIL  WEEKDAYS  FACTOR  SINCE  TO       a window of the day, UTC
//! ```
//! Rates and amounts are those of [`format`](crate::format). Read in one pass; the same checks hold as for any book.

use std::sync::Arc;

use crate::amount::factor;
use crate::compile::{moment, time_of_day};
use crate::entry::{Dated, Entry, Period, Window, price_id};
use crate::format::BookError;
use crate::layer::{Basis, Layer, LayerKind, LayerText, Rule};
use crate::providers::canonical_provider;
use crate::rates::{Rates, Tiered};

/// The first field of a packed book.
pub(crate) const MAGIC: &str = "callmeter-book\t1\t";

/// Rates and tiers as their lines come.
#[derive(Default)]
struct Section {
    variant: Option<Box<str>>,
    base: Rates,
    tiers: Vec<(u64, Rates)>,
}

/// What is being read.
#[derive(Default)]
struct Reader {
    provider: Arc<str>,
    entries: Vec<Entry>,
    rules: Vec<Rule>,
    disputed: Vec<(Arc<str>, Box<str>)>,
    model: Option<Model>,
}

#[derive(Default)]
struct Model {
    name: Box<str>,
    letters: Box<str>,
    aliases: Vec<Box<str>>,
    regions: Vec<(Box<str>, (i64, i64))>,
    periods: Vec<Period>,
    open: Option<(Period, Vec<Section>)>,
}

/// Reads a packed book.
///
/// # Errors
/// The line that is none.
pub(crate) fn read(text: &str, kind: LayerKind, is_built_in: bool) -> Result<Layer, BookError> {
    let mut lines = text.lines().enumerate();
    let (_, head) = lines.next().unwrap_or_default();
    let mut head = head.split('\t').skip(2);
    let (Some(name), Some(version), Some(content_id)) = (head.next(), head.next(), head.next())
    else {
        return Err(BookError::Syntax(
            "line 1 is no head of a packed book".to_owned(),
        ));
    };
    let mut reader = Reader::default();
    for (at, line) in lines {
        reader.line(line).map_err(|problem| {
            BookError::Syntax(format!("line {}: {problem}", at.saturating_add(1)))
        })?;
    }
    reader.close_model();
    let mut layer = Layer::new(name, version, kind, reader.entries, reader.rules)?;
    content_id.clone_into(&mut layer.content_id);
    layer.disputed = reader.disputed;
    if !is_built_in {
        layer.text = LayerText::Own(text.to_owned());
    }
    Ok(layer)
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (letter, rest) = line.split_once('\t').ok_or("it has no field")?;
        let mut fields = rest.split('\t');
        let first = fields.next().unwrap_or_default();
        match letter {
            "S" => self.rules.push(rule(first, fields)?),
            "P" => {
                self.close_model();
                self.provider = canonical_provider(first).into();
            }
            "X" => self
                .disputed
                .push((Arc::clone(&self.provider), first.into())),
            "M" => {
                self.close_model();
                self.model = Some(Model {
                    name: first.into(),
                    letters: fields.next().unwrap_or_default().into(),
                    ..Model::default()
                });
            }
            _ => {
                let provider = Arc::clone(&self.provider);
                let model = self.model.as_mut().ok_or("it belongs to no model")?;
                model.line(&provider, letter, first, fields)?;
            }
        }
        Ok(())
    }

    fn close_model(&mut self) {
        let Some(mut model) = self.model.take() else {
            return;
        };
        model.close_period();
        self.entries.push(Entry {
            provider: Arc::clone(&self.provider),
            dated: Dated::of_letters(&model.letters),
            writes_are_input: model.letters.contains('w'),
            model: model.name,
            aliases: model.aliases.into_boxed_slice(),
            regions: model.regions.into_boxed_slice(),
            periods: model.periods.into_boxed_slice(),
        });
    }
}

impl Model {
    fn line<'t>(
        &mut self,
        provider: &str,
        letter: &str,
        first: &'t str,
        mut fields: std::str::Split<'t, char>,
    ) -> Result<(), String> {
        match letter {
            "A" => self.aliases.push(first.into()),
            "G" => {
                let text = fields.next().unwrap_or_default();
                let factor = factor(text).ok_or("it has no factor")?;
                self.regions.push((first.into(), factor));
            }
            "T" => {
                self.close_period();
                let period = self.period(provider, first, fields)?;
                self.open = Some((period, vec![Section::default()]));
            }
            _ => {
                let (period, sections) = self.open.as_mut().ok_or("it belongs to no period")?;
                if letter == "W" {
                    let mut windows = std::mem::take(&mut period.windows).into_vec();
                    windows.push(window(first, fields)?);
                    period.windows = windows.into_boxed_slice();
                } else if letter == "V" {
                    sections.push(Section {
                        variant: Some(first.into()),
                        ..Section::default()
                    });
                } else {
                    let section = sections.last_mut().ok_or("it belongs to no period")?;
                    section.line(letter, first, fields)?;
                }
            }
        }
        Ok(())
    }

    fn period<'t>(
        &self,
        provider: &str,
        from: &'t str,
        mut fields: impl Iterator<Item = &'t str>,
    ) -> Result<Period, String> {
        let until = fields.next().unwrap_or_default();
        let bound = |text: &str| (!text.is_empty()).then(|| moment(text)).transpose();
        Ok(Period {
            from: bound(from)?,
            until: bound(until)?,
            standard: Tiered::default(),
            variants: Box::default(),
            windows: Box::default(),
            price_id: price_id(provider, &self.name, (!from.is_empty()).then_some(from)),
            source: fields.next().unwrap_or_default().into(),
            verified_at: Box::default(),
        })
    }

    fn close_period(&mut self) {
        let Some((mut period, sections)) = self.open.take() else {
            return;
        };
        let mut variants = Vec::with_capacity(sections.len().saturating_sub(1));
        for section in sections {
            let tiered = Tiered::new(section.base, section.tiers);
            match section.variant {
                None => period.standard = tiered,
                Some(name) => variants.push((name, tiered.variant_of(&period.standard))),
            }
        }
        period.variants = variants.into_boxed_slice();
        self.periods.push(period);
    }
}

impl Section {
    fn line<'t>(
        &mut self,
        letter: &str,
        first: &'t str,
        mut fields: std::str::Split<'t, char>,
    ) -> Result<(), String> {
        match letter {
            "R" => self.base = rates(std::iter::once(first).chain(fields))?,
            "K" => {
                let over = first.parse().map_err(|_| "it has no threshold")?;
                if self.tiers.last().is_some_and(|(last, _)| over <= *last) {
                    return Err("tiers must ascend".to_owned());
                }
                self.tiers.push((over, rates(&mut fields)?));
            }
            _ => return Err(format!("'{letter}' is no kind of line")),
        }
        Ok(())
    }
}

fn rates<'t>(mut fields: impl Iterator<Item = &'t str>) -> Result<Rates, String> {
    let pairs = std::iter::from_fn(|| Some((fields.next()?, fields.next().unwrap_or_default())));
    Rates::read(pairs).map_err(|(_, problem)| problem)
}

fn rule<'t>(provider: &str, mut fields: impl Iterator<Item = &'t str>) -> Result<Rule, String> {
    let basis = match fields.next() {
        Some("self_hosted") => Basis::SelfHosted,
        Some("free_quota") => Basis::FreeQuota,
        _ => return Err("it has no basis".to_owned()),
    };
    Ok(Rule {
        provider: canonical_provider(provider).into(),
        basis,
        except: fields.map(Into::into).collect(),
    })
}

fn window<'t>(from: &str, mut fields: impl Iterator<Item = &'t str>) -> Result<Window, String> {
    let mut next = || fields.next().unwrap_or_default();
    let (until, days, by, since, to) = (next(), next(), next(), next(), next());
    let bound = |text: &str| (!text.is_empty()).then(|| moment(text)).transpose();
    let weekdays = days.bytes().fold(0_u8, |bits, day| {
        let day = u32::from(day.saturating_sub(b'0'));
        bits | 1_u8.checked_shl(day).unwrap_or(0)
    });
    Ok(Window {
        start_minute: time_of_day(from)?,
        end_minute: time_of_day(until)?,
        weekdays: if days.is_empty() {
            Window::DAILY
        } else {
            weekdays
        },
        from: bound(since)?,
        until: bound(to)?,
        factor: factor(by).ok_or("it has no factor")?,
    })
}
