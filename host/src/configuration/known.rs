//! What a subscriber knows, and what is new to it.

use std::sync::Arc;

use crate::configuration::{ConfigurationStore, Item, Items, ItemsRequest};

/// The items that a subscriber was told last.
#[derive(Debug, Default)]
pub(crate) struct Known(Items);

impl Known {
    /// Knows these items of a state already.
    pub(crate) fn of(state: &Items, request: &ItemsRequest) -> Self {
        let wanted = state.iter().filter(|(key, _)| request.wants(key));
        Self(
            wanted
                .map(|(key, item)| (key.clone(), item.clone()))
                .collect(),
        )
    }

    /// What differs in a state: each item that is new or changed, and what the store tells of those
    /// that are gone. It is known from then on.
    pub(crate) fn differences(
        &mut self,
        state: &Items,
        request: &ItemsRequest,
        store: &Arc<dyn ConfigurationStore>,
    ) -> Items {
        let now = Self::of(state, request).0;
        let changed = now.iter().filter(|(key, item)| {
            !self
                .0
                .get(*key)
                .is_some_and(|last| store.is_same(last, item))
        });
        let mut differences: Items = changed
            .map(|(key, item)| (key.clone(), item.clone()))
            .collect();
        let gone = self.0.iter().filter(|(key, _)| !now.contains_key(*key));
        let told = |(key, last): (&String, &Item)| (key.clone(), store.deletion(last));
        differences.extend(gone.map(told));
        self.0 = now;
        differences
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use async_trait::async_trait;
    use tokio::sync::watch;

    use super::Known;
    use crate::configuration::{ConfigurationStore, Item, Items, ItemsRequest};
    use crate::context::Context;
    use crate::stores::StoreError;

    struct Nothing;

    #[async_trait]
    impl ConfigurationStore for Nothing {
        async fn get(&self, _: &ItemsRequest, _: &Context) -> Result<Items, StoreError> {
            Ok(Items::new())
        }

        async fn watch(
            &self,
            _: &ItemsRequest,
            _: &Context,
        ) -> Result<watch::Receiver<Arc<Items>>, StoreError> {
            Ok(watch::channel(Arc::default()).1)
        }
    }

    fn state(items: &[(&str, &str)]) -> Items {
        let items = items.iter();
        items
            .map(|(key, value)| ((*key).to_owned(), Item::new(*value, "")))
            .collect()
    }

    #[test]
    fn each_difference_is_told_once() {
        let store: Arc<dyn ConfigurationStore> = Arc::new(Nothing);
        let keys = ["a", "b", "c"].map(str::to_owned).to_vec();
        let request = ItemsRequest::new(keys, BTreeMap::new());
        let mut known = Known::of(&state(&[("a", "1"), ("b", "2"), ("x", "3")]), &request);
        let later = state(&[("a", "1"), ("c", "new"), ("x", "4")]);
        let told = known.differences(&later, &request, &store);
        // `b` is gone, and nobody asked for `x`.
        assert_eq!(told, state(&[("b", ""), ("c", "new")]));
        assert_eq!(known.differences(&later, &request, &store), Items::new());
    }
}
