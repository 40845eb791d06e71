//! When a circuit breaker opens: an expression over what it has counted.
//!
//! Dapr takes any expression of CEL. This is the part of it that is about numbers, which is all that
//! there is to count with. A whole CEL would bring a parser generator, regular expressions and a
//! calendar; what is not understood is refused.

mod evaluation;
mod parser;

use self::evaluation::{Node, Value};
pub(super) use self::parser::NotUnderstood;
use crate::resiliency::breaker::Counts;

/// How long an expression may be.
const LONGEST: usize = 1024;

/// An expression; Dapr's own default is more than five failures one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trip(Option<Node>);

impl Trip {
    /// Reads an expression, whose value must be true or false.
    pub(super) fn parse(text: &str) -> Result<Self, NotUnderstood> {
        if text.len() > LONGEST {
            return Err(NotUnderstood("it is too long"));
        }
        parser::parse(text).map(|node| Self(Some(node)))
    }

    /// Whether it is true. One that cannot be calculated, such as a division by zero, is not.
    pub(super) fn is_met(&self, counts: &Counts) -> bool {
        match &self.0 {
            None => counts.consecutive_failures > 5,
            Some(node) => node.evaluate(counts) == Some(Value::Bool(true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Trip;
    use crate::resiliency::breaker::Counts;

    const COUNTS: Counts = Counts {
        requests: 20,
        successes: 12,
        failures: 8,
        consecutive_successes: 0,
        consecutive_failures: 3,
    };

    #[test]
    fn expressions_mean_what_cel_says() {
        for (text, is_met) in [
            ("consecutiveFailures >= 3", true),
            ("consecutiveFailures > 3", false),
            ("consecutiveFailures == 3 && requests != 21", true),
            ("totalFailures*100/requests >= 40", true),
            ("totalFailures / requests > 0", false),
            ("double(totalFailures) / double(requests) > 0.39", true),
            ("double(totalFailures) / 20.0 >= 4e-1", true),
            ("requests > 100 || (totalFailures - 2 * 3 == 2)", true),
            ("!(requests > 10)", false),
            ("requests > 10 ? totalSuccesses < 12 : true", false),
            ("requests % 7 == 6 && -1 < 0", true),
            ("0x14 == requests", true),
            ("true", true),
            ("(requests > 1) == (totalFailures > 1)", true),
            // As in CEL, what cannot be calculated does not matter where the other side decides.
            ("1 / consecutiveSuccesses > 1 || requests > 1", true),
            ("1 / consecutiveSuccesses > 1", false),
            ("!(1 / consecutiveSuccesses > 1)", false),
            ("9223372036854775807 + requests > 0", false),
            ("requests>1&&totalFailures>1", true),
            ("requests // of all\n > 1", true),
        ] {
            let trip = Trip::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
            assert_eq!(trip.is_met(&COUNTS), is_met, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let deep = "(".repeat(200) + "true" + &")".repeat(200);
        let long = "true || ".repeat(200) + "true";
        for text in [
            "",
            "requests",
            "consecutiveFailure >= 5",
            "requests >=",
            "requests > 5)",
            "requests => 5",
            "requests > '5'",
            "requests + 0.5 > 5.0",
            "requests && true",
            "1 < 2 < 3",
            "size(requests) > 1",
            "requests & 1 == 1",
            "requests = 5",
            "requests > 99999999999999999999",
            "-9223372036854775808 < requests ? 1 : 2",
            "5.requests",
            &deep,
            &long,
        ] {
            assert!(Trip::parse(text).is_err(), "{text}");
        }
    }
}
