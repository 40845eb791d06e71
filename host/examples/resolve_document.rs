//! Resolves the documents that are named, against a secrets file.
//!
//! `cargo run --example resolve_document -- examples/secrets.yaml examples/tutorial/statestore.yaml`

use keyref::stores::LocalFile;
use keyref::{Context, Document, Resolver, Value};

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example is for reading its output"
)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let secrets = arguments
        .next()
        .ok_or("name a secrets file, then documents")?;
    let documents = arguments
        .map(|path| Ok(Document::new(path.as_str(), std::fs::read(&path)?)))
        .collect::<std::io::Result<Vec<_>>>()?;

    let resolver = Resolver::builder()
        .store("kubernetes-secrets", LocalFile::open(secrets)?)
        .build()?;
    let resolution = resolver.resolve(documents, &Context::new()).await;

    for problem in &resolution.problems {
        eprintln!("{problem} ({})\n  {}", problem.class, problem.hint);
    }
    for resolved in &resolution.components {
        println!("{}", resolved.component.name);
        for property in &resolved.properties {
            match &property.value {
                Value::Plain(text) => println!("  {} = {text}", property.name),
                // Printing it shows nothing; `value.reveal()` is the one way to the bytes.
                Value::Secret(value) => println!("  {} = {value:?}", property.name),
                _ => {}
            }
        }
    }
    Ok(())
}
