//! Where the guest says that answers belong, and what of it cannot be.

use crate::Set;
use crate::bindings::exports::keyref::secrets::resolver::{
    Answer, Outcome, Part, ResolvedComponent, ResolvedItem,
};
use crate::bindings::keyref::secrets::secret_store::{Failure, Secret, get_many};
use crate::describe::request;
use crate::parse::endless;

pub fn resolve(set: &Set, indices: &[u32]) -> Outcome {
    let mut outcome = place(set, indices);
    for (at, &index) in indices.iter().enumerate() {
        misplace(
            set,
            &mut outcome,
            at,
            &set.texts[index as usize].misbehaviour,
        );
    }
    outcome
}

fn place(set: &Set, indices: &[u32]) -> Outcome {
    let mut asked: Vec<u32> = Vec::new();
    let mut components = Vec::new();
    for &component in indices {
        let references = (0..).zip(&set.texts[component as usize].references);
        let items = references.map(|(item, &request)| {
            let known = asked.iter().position(|&known| known == request);
            let answer = known.unwrap_or_else(|| {
                asked.push(request);
                asked.len() - 1
            });
            ResolvedItem {
                item,
                default: None,
                parts: vec![Part::Secret(answer as u32)],
            }
        });
        let items = items.collect();
        components.push(ResolvedComponent { component, items });
    }
    let requests = asked
        .iter()
        .map(|&index| request(&set.references[index as usize]));
    let secrets = get_many(&requests.collect::<Vec<_>>());
    let answers = asked.into_iter().zip(secrets);
    Outcome {
        answers: answers
            .map(|(request, secret)| Answer { request, secret })
            .collect(),
        components,
    }
}

/// Spoils what is said of the component at a place of the outcome.
fn misplace(set: &Set, outcome: &mut Outcome, at: usize, misbehaviour: &str) {
    let Outcome {
        answers,
        components,
    } = outcome;
    let component = &mut components[at];
    let items = &mut component.items;
    match misbehaviour {
        "trap-in-resolve" => panic!("as the document says"),
        "loop-in-resolve" => endless(),
        "endless-get-many" => loop {
            drop(get_many(&[request(&set.references[0])]));
        },
        "huge-get-many" => {
            let requests = vec![request(&set.references[0]); 300_000];
            drop(get_many(&requests));
        }
        "swap" => {
            let parts = std::mem::take(&mut items[0].parts);
            items[0].parts = std::mem::replace(&mut items[1].parts, parts);
        }
        "swap-with-neighbour" if at > 0 => {
            let parts = std::mem::take(&mut items[0].parts);
            let neighbour = &mut components[at - 1].items[0].parts;
            components[at].items[0].parts = std::mem::replace(neighbour, parts);
        }
        "forge" => items[0].parts = vec![Part::Literal("forged".to_owned())],
        "nothing" => items[0].parts.clear(),
        "repeat-index" => items.push(items[0].clone()),
        "repeat-component" => {
            let again = component.clone();
            components.push(again);
        }
        "leave-out" => items.clear(),
        "leave-out-component" => drop(components.remove(at)),
        "leave-out-answers" => answers.clear(),
        "index-out-of-range" => items[0].parts = vec![Part::Secret(u32::MAX)],
        "item-out-of-range" => items[0].item = u32::MAX,
        "plain-item" => items[0].item = items.len() as u32,
        "component-out-of-range" => component.component = u32::MAX,
        "wrong-component-index" => component.component = u32::from(component.component == 0),
        "answer-out-of-range" => answer(answers, items, u32::MAX, Err(Failure::Denied)),
        "unrequested" => {
            let secret = get_many(&[request("vault/root/token")]).remove(0);
            match secret {
                Ok(secret) => answer(answers, items, 0, Ok(secret)),
                Err(failure) => items[0].parts = vec![Part::Literal(format!("{failure:?}"))],
            }
        }
        // SAFETY: none; that is the point.
        "invented-handle" => answer(answers, items, 0, Ok(unsafe { Secret::from_handle(4711) })),
        "repeat-handle" => {
            if let Ok(secret) = &answers[0].secret {
                // SAFETY: none, as above.
                let again = unsafe { Secret::from_handle(secret.handle()) };
                answer(answers, items, 0, Ok(again));
            }
        }
        _ => {}
    }
}

/// Adds an answer, and places it in the first item.
fn answer(
    answers: &mut Vec<Answer>,
    items: &mut [ResolvedItem],
    request: u32,
    secret: Result<Secret, Failure>,
) {
    items[0].parts = vec![Part::Secret(answers.len() as u32)];
    answers.push(Answer { request, secret });
}
