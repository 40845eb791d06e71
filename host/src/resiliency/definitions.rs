//! What Resiliency documents say, all of them together: policies by name, and who goes by which.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::resiliency::breaker::BreakerRule;
use crate::resiliency::retry::{Backoff, Retry};

/// Policies, and who goes by which. What a later document says takes the place of the same name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Definitions {
    /// The name and the namespace of each document.
    pub(super) documents: Vec<(String, String)>,
    /// For no time at all, none.
    pub(super) timeouts: BTreeMap<String, Duration>,
    pub(super) retries: BTreeMap<String, Retry>,
    pub(super) breakers: BTreeMap<String, BreakerRule>,
    /// The policies of components, by their names.
    pub(super) components: BTreeMap<String, Directions>,
    /// What targets have no meaning here.
    pub(super) without_effect: Vec<String>,
}

/// The names of a component's policies: to its backend, and from it to the app.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Directions {
    pub(super) outbound: Names,
    pub(super) inbound: Names,
}

/// The names of three policies; none where it is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names {
    pub(super) timeout: String,
    pub(super) retry: String,
    pub(super) breaker: String,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flow {
    /// A secret store is asked.
    Secrets,
    /// A configuration store is asked.
    Configuration,
    /// The app is told of configuration.
    Notification,
}

/// Dapr's own retry policies. They are for what it alone does, but can be named.
const BUILT_IN: [&str; 5] = [
    "DaprBuiltInActorNotFoundRetries",
    "DaprBuiltInActorReminderRetries",
    "DaprBuiltInActorRetries",
    "DaprBuiltInInitializationRetries",
    "DaprBuiltInServiceRetries",
];
/// How often these are tried again at least.
const LEAST_BUILT_IN: u64 = 3;

/// What a document's retry policy of this name is in fact, and what there is to say about that.
pub(super) fn admitted(name: &str, mut retry: Retry) -> (Option<Retry>, Option<&'static str>) {
    if name == "DaprBuiltInActorNotFoundRetries" {
        return (None, Some("this policy of Dapr's own cannot be changed"));
    }
    // Without a bound is less than that as well.
    if BUILT_IN.contains(&name) && retry.most.is_none_or(|most| most < LEAST_BUILT_IN) {
        retry.most = Some(LEAST_BUILT_IN);
        return (
            Some(retry),
            Some("this policy tries again 3 times at least"),
        );
    }
    (Some(retry), None)
}

fn built_in(name: &str) -> Option<Retry> {
    let growing = |longest, until, most| Retry {
        backoff: Backoff::Exponential { longest, until },
        most: Some(most),
    };
    let second = Duration::from_secs(1);
    match name {
        "DaprBuiltInActorNotFoundRetries" => Some(Retry::constant(second, 5)),
        // As Dapr has it, this one tries nothing again unless a document says so.
        "DaprBuiltInActorReminderRetries" => {
            Some(growing(Retry::DEFAULT_LONGEST, Retry::DEFAULT_UNTIL, 0))
        }
        "DaprBuiltInInitializationRetries" => Some(growing(second, Duration::from_secs(10), 3)),
        "DaprBuiltInActorRetries" | "DaprBuiltInServiceRetries" => {
            Some(Retry::constant(second, LEAST_BUILT_IN))
        }
        _ => None,
    }
}

impl Flow {
    /// Dapr's name of the building block.
    fn block(self) -> &'static str {
        match self {
            Self::Secrets => "Secretstore",
            Self::Configuration | Self::Notification => "Configuration",
        }
    }

    /// Dapr's name of a store that is a target.
    pub(super) fn target(self, store: &str) -> String {
        format!("{}_{store}", self.block())
    }

    /// The direction, as a label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Secrets | Self::Configuration => "outbound",
            Self::Notification => "inbound",
        }
    }

    fn direction(self) -> &'static str {
        match self {
            Self::Secrets | Self::Configuration => "Outbound",
            Self::Notification => "Inbound",
        }
    }

    /// The names of default policies of a kind, the closest first.
    fn defaults(self, kind: &str) -> [String; 4] {
        let (block, direction) = (self.block(), self.direction());
        let levels = [
            format!("{block}Component{direction}"),
            format!("Component{direction}"),
            "Component".to_owned(),
            String::new(),
        ];
        levels.map(|level| format!("Default{level}{kind}Policy"))
    }
}

impl Definitions {
    /// Takes over what a later document says.
    pub(super) fn extend(&mut self, later: Self) {
        self.documents.extend(later.documents);
        self.timeouts.extend(later.timeouts);
        self.retries.extend(later.retries);
        self.breakers.extend(later.breakers);
        self.components.extend(later.components);
        self.without_effect.extend(later.without_effect);
    }

    /// The retry policy of this name: a document's, or Dapr's own.
    pub(super) fn retry(&self, name: &str) -> Option<Retry> {
        self.retries.get(name).cloned().or_else(|| built_in(name))
    }

    /// The names of the policies that a component goes by. As in Dapr, the defaults are for those that
    /// no target names.
    pub(super) fn names(&self, component: &str, flow: Flow) -> Names {
        if let Some(directions) = self.components.get(component) {
            return match flow {
                Flow::Secrets | Flow::Configuration => directions.outbound.clone(),
                Flow::Notification => directions.inbound.clone(),
            };
        }
        let default = |kind, is_known: &dyn Fn(&String) -> bool| {
            let mut names = flow.defaults(kind).into_iter();
            names.find(is_known).unwrap_or_default()
        };
        Names {
            timeout: default("Timeout", &|name| self.timeouts.contains_key(name)),
            retry: default("Retry", &|name| self.retries.contains_key(name)),
            breaker: default("CircuitBreaker", &|name| self.breakers.contains_key(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Definitions, Flow, Names, admitted};
    use crate::resiliency::retry::Retry;

    #[test]
    fn the_closest_default_counts_for_components_that_no_target_names() {
        let mut definitions = Definitions::default();
        let time = Duration::from_secs(1);
        let timeouts = &mut definitions.timeouts;
        for name in [
            "DefaultTimeoutPolicy",
            "DefaultComponentTimeoutPolicy",
            "DefaultComponentOutboundTimeoutPolicy",
            "DefaultSecretstoreComponentOutboundTimeoutPolicy",
        ] {
            timeouts.insert(name.to_owned(), time);
        }
        let retry = Retry::constant(time, 1);
        let name = "DefaultRetryPolicy".to_owned();
        definitions.retries.insert(name, retry);
        for (flow, timeout) in [
            (
                Flow::Secrets,
                "DefaultSecretstoreComponentOutboundTimeoutPolicy",
            ),
            (Flow::Configuration, "DefaultComponentOutboundTimeoutPolicy"),
            (Flow::Notification, "DefaultComponentTimeoutPolicy"),
        ] {
            let names = Names {
                timeout: timeout.to_owned(),
                retry: "DefaultRetryPolicy".to_owned(),
                breaker: String::new(),
            };
            assert_eq!(definitions.names("vault", flow), names);
        }
        definitions
            .components
            .entry("vault".to_owned())
            .or_default();
        let names = definitions.names("vault", Flow::Secrets);
        assert_eq!(names, Names::default());
    }

    #[test]
    fn dapr_s_own_policies_can_be_named_and_raised() {
        let definitions = Definitions::default();
        let second = Duration::from_secs(1);
        let of_services = Retry::constant(second, 3);
        let name = "DaprBuiltInServiceRetries";
        assert_eq!(definitions.retry(name), Some(of_services));
        assert_eq!(definitions.retry("DaprBuiltInRetries"), None);
        let few = Retry::constant(second, 1);
        let (raised, said) = admitted(name, few.clone());
        assert_eq!((raised.unwrap().most, said.is_some()), (Some(3), true));
        assert_eq!(admitted("mine", few.clone()), (Some(few.clone()), None));
        assert_eq!(admitted("DaprBuiltInActorNotFoundRetries", few).0, None);
    }
}
