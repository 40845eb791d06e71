//! What an expression comes to.

use std::cmp::Ordering;

use crate::resiliency::breaker::Counts;

/// An expression whose types fit.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Literal(Value),
    Count(Count),
    Not(Box<Self>),
    Negative(Box<Self>),
    Double(Box<Self>),
    Int(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(Relation, Box<Self>, Box<Self>),
    Calculate(Operator, Box<Self>, Box<Self>),
    Choose(Box<Self>, Box<Self>, Box<Self>),
}

/// What an expression can come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    Double(f64),
}

/// What a breaker counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Count {
    Requests,
    Successes,
    Failures,
    ConsecutiveSuccesses,
    ConsecutiveFailures,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Relation {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// How two numbers are calculated with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operator {
    Plus,
    Minus,
    Times,
    DividedBy,
    Modulo,
}

impl Node {
    /// Its value, if it has one.
    pub(super) fn evaluate(&self, counts: &Counts) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(*value),
            Self::Count(count) => Some(Value::Int(count.of(counts))),
            Self::Not(of) => Some(Value::Bool(!of.truth(counts)?)),
            Self::Negative(of) => match of.evaluate(counts)? {
                Value::Int(number) => number.checked_neg().map(Value::Int),
                Value::Double(number) => Some(Value::Double(-number)),
                Value::Bool(_) => None,
            },
            Self::Double(of) => Some(Value::Double(of.evaluate(counts)?.double()?)),
            Self::Int(of) => of.evaluate(counts)?.int().map(Value::Int),
            Self::And(one, other) => either(one, other, counts, false),
            Self::Or(one, other) => either(one, other, counts, true),
            Self::Compare(relation, one, other) => {
                let (one, other) = (one.evaluate(counts)?, other.evaluate(counts)?);
                Some(Value::Bool(relation.holds(one.compare(other))))
            }
            Self::Calculate(operator, one, other) => {
                operator.apply(one.evaluate(counts)?, other.evaluate(counts)?)
            }
            Self::Choose(condition, one, other) => {
                let chosen = if condition.truth(counts)? { one } else { other };
                chosen.evaluate(counts)
            }
        }
    }

    fn truth(&self, counts: &Counts) -> Option<bool> {
        match self.evaluate(counts)? {
            Value::Bool(truth) => Some(truth),
            Value::Int(_) | Value::Double(_) => None,
        }
    }
}

/// What decides alone where either side is it; the opposite where both sides are that.
fn either(one: &Node, other: &Node, counts: &Counts, decides: bool) -> Option<Value> {
    let one = one.truth(counts);
    if one == Some(decides) {
        return Some(Value::Bool(decides));
    }
    match other.truth(counts)? {
        other if other == decides => Some(Value::Bool(decides)),
        other => one.map(|_| Value::Bool(other)),
    }
}

impl Value {
    fn double(self) -> Option<f64> {
        match self {
            Self::Double(number) => Some(number),
            #[expect(clippy::cast_precision_loss, reason = "as CEL converts")]
            Self::Int(number) => Some(number as f64),
            Self::Bool(_) => None,
        }
    }

    fn int(self) -> Option<i64> {
        const MOST: f64 = 9_223_372_036_854_774_784.0;
        match self {
            Self::Int(number) => Some(number),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "toward zero, as CEL converts"
            )]
            Self::Double(number) if number.abs() <= MOST => Some(number as i64),
            Self::Double(_) | Self::Bool(_) => None,
        }
    }

    /// Nothing for what is no number, which is neither less nor more.
    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(&other)),
            (Self::Int(one), Self::Int(other)) => Some(one.cmp(&other)),
            (one, other) => one.double()?.partial_cmp(&other.double()?),
        }
    }
}

impl Count {
    /// The count of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "requests" => Self::Requests,
            "totalSuccesses" => Self::Successes,
            "totalFailures" => Self::Failures,
            "consecutiveSuccesses" => Self::ConsecutiveSuccesses,
            "consecutiveFailures" => Self::ConsecutiveFailures,
            _ => return None,
        })
    }

    fn of(self, counts: &Counts) -> i64 {
        i64::from(match self {
            Self::Requests => counts.requests,
            Self::Successes => counts.successes,
            Self::Failures => counts.failures,
            Self::ConsecutiveSuccesses => counts.consecutive_successes,
            Self::ConsecutiveFailures => counts.consecutive_failures,
        })
    }
}

impl Relation {
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::Unequal => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::AtMost => order.is_some_and(Ordering::is_le),
            Self::More => order == Some(Ordering::Greater),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl Operator {
    /// Nothing where the result is no number of its type.
    fn apply(self, one: Value, other: Value) -> Option<Value> {
        match (one, other) {
            (Value::Int(one), Value::Int(other)) => match self {
                Self::Plus => one.checked_add(other),
                Self::Minus => one.checked_sub(other),
                Self::Times => one.checked_mul(other),
                Self::DividedBy => one.checked_div(other),
                Self::Modulo => one.checked_rem(other),
            }
            .map(Value::Int),
            (Value::Double(one), Value::Double(other)) => Some(Value::Double(match self {
                Self::Plus => one + other,
                Self::Minus => one - other,
                Self::Times => one * other,
                Self::DividedBy => one / other,
                Self::Modulo => return None,
            })),
            _ => None,
        }
    }
}
