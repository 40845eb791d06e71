//! A store of one's own: secrets that are derived from their names.

use std::collections::BTreeMap;

use async_trait::async_trait;
use keyref::secret::Secret;
use keyref::stores::{BulkRequest, SecretRequest, SecretStore, StoreError};
use keyref::{Context, Document, Resolver};

/// Knows `upper-NAME` for every name.
struct Upper;

#[async_trait]
impl SecretStore for Upper {
    async fn get(
        &self,
        request: &SecretRequest,
        _context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        // What does not exist is `None`; what fails is an error, whose message holds no value.
        let Some(name) = request.name.strip_prefix("upper-") else {
            return Ok(None);
        };
        Ok(Some([("value", name.to_uppercase())].into_iter().collect()))
    }

    async fn bulk(
        &self,
        _request: &BulkRequest,
        _context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        // There is no end of them.
        Ok(BTreeMap::new())
    }
}

const MANIFEST: &str = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: statestore}
spec:
  type: state.redis
  version: v1
  metadata:
  - name: redisPassword
    secretKeyRef: {name: upper-redis, key: value}
auth: {secretStore: upper}
";

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example is for reading its output")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let resolver = Resolver::builder().store("upper", Upper).build()?;
    let documents = vec![Document::new("statestore.yaml", MANIFEST)];
    let resolution = resolver.resolve(documents, &Context::new()).await;
    for component in &resolution.components {
        println!("{}: {:?}", component.component.name, component.properties);
    }
    Ok(())
}
