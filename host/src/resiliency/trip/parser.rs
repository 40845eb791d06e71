//! Expressions as they are written.

use super::evaluation::{Count, Node, Operator, Relation, Value};

/// How deep an expression may be nested.
const DEEPEST: usize = 32;

/// Why an expression is refused. Nothing of it is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(in crate::resiliency) struct NotUnderstood(pub(super) &'static str);

/// What a part of an expression comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Type {
    Bool,
    Int,
    Double,
}

type Parsed = Result<(Node, Type), NotUnderstood>;

const INCOMPLETE: NotUnderstood = NotUnderstood("it ends, or goes on, where it should not");
const CHARACTER: NotUnderstood = NotUnderstood("it has a character that means nothing here");
const NUMBER: NotUnderstood = NotUnderstood("it has a number that cannot be read");
const NAME: NotUnderstood = NotUnderstood("it has a name that is none of what is counted");
const TYPES: NotUnderstood = NotUnderstood("it mixes what does not go together");
const DEEP: NotUnderstood = NotUnderstood("it is nested too deeply");
const NO_CONDITION: NotUnderstood = NotUnderstood("it is neither true nor false");

/// Reads an expression that is true or false.
pub(super) fn parse(text: &str) -> Result<Node, NotUnderstood> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        depth: 0,
    };
    let (node, of_type) = parser.choice()?;
    match (parser.peek(), of_type) {
        (Some(_), _) => Err(INCOMPLETE),
        (None, Type::Bool) => Ok(node),
        (None, Type::Int | Type::Double) => Err(NO_CONDITION),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'t> {
    Symbol(&'static str),
    Name(&'t str),
    Int(i64),
    Double(f64),
}

/// Longer ones first.
const SYMBOLS: [&str; 18] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "(", ")", "?", ":",
];

fn tokens(text: &str) -> Result<Vec<Token<'_>>, NotUnderstood> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first.is_ascii_digit() || first == '.' {
            let (token, length) = number(rest)?;
            tokens.push(token);
            length
        } else if first.is_ascii_alphabetic() || first == '_' {
            let is_of_name =
                |character: char| character.is_ascii_alphanumeric() || character == '_';
            let (name, _) = split(rest, is_of_name);
            tokens.push(Token::Name(name));
            name.len()
        } else {
            let mut symbols = SYMBOLS.iter();
            let symbol = symbols.find(|symbol| rest.starts_with(**symbol));
            let symbol = symbol.ok_or(CHARACTER)?;
            tokens.push(Token::Symbol(symbol));
            symbol.len()
        };
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(
        text.find(|character| !belongs(character))
            .unwrap_or(text.len()),
    )
}

/// A number, and how long it is.
fn number(text: &str) -> Result<(Token<'_>, usize), NotUnderstood> {
    let mut length = 0;
    let mut before = ' ';
    for character in text.chars() {
        let is_exponent = matches!(before, 'e' | 'E') && !text.starts_with("0x");
        let belongs = character.is_ascii_alphanumeric()
            || character == '.'
            || (is_exponent && matches!(character, '+' | '-'));
        if !belongs {
            break;
        }
        length += character.len_utf8();
        before = character;
    }
    let written = text.get(..length).unwrap_or_default();
    let token = if let Some(hexadecimal) = written.strip_prefix("0x") {
        i64::from_str_radix(hexadecimal, 16).ok().map(Token::Int)
    } else if written.bytes().all(|byte| byte.is_ascii_digit()) {
        written.parse().ok().map(Token::Int)
    } else if written.ends_with('.') || !written.bytes().all(is_of_double) {
        None
    } else {
        written.parse().ok().map(Token::Double)
    };
    Ok((token.ok_or(NUMBER)?, length))
}

fn is_of_double(byte: u8) -> bool {
    byte.is_ascii_digit() || b".eE+-".contains(&byte)
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.at).copied()
    }

    fn take(&mut self) -> Option<Token<'t>> {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// Takes one of these symbols, where it comes next.
    fn takes<T: Copy>(&mut self, symbols: &[(&str, T)]) -> Option<T> {
        let Some(Token::Symbol(next)) = self.peek() else {
            return None;
        };
        let (_, meaning) = symbols.iter().find(|(symbol, _)| *symbol == next)?;
        self.at += 1;
        Some(*meaning)
    }

    fn expect(&mut self, symbol: &str) -> Result<(), NotUnderstood> {
        self.takes(&[(symbol, ())]).ok_or(INCOMPLETE)
    }

    fn choice(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(DEEP);
        }
        let (condition, of_type) = self.either()?;
        let parsed = if self.takes(&[("?", ())]).is_some() {
            let (one, one_type) = self.either()?;
            self.expect(":")?;
            let (other, other_type) = self.choice()?;
            if of_type != Type::Bool || one_type != other_type {
                return Err(TYPES);
            }
            let [condition, one, other] = [condition, one, other].map(Box::new);
            (Node::Choose(condition, one, other), one_type)
        } else {
            (condition, of_type)
        };
        self.depth -= 1;
        Ok(parsed)
    }

    fn either(&mut self) -> Parsed {
        let mut parsed = self.both()?;
        while self.takes(&[("||", ())]).is_some() {
            parsed = logical(parsed, self.both()?, Node::Or)?;
        }
        Ok(parsed)
    }

    fn both(&mut self) -> Parsed {
        let mut parsed = self.relation()?;
        while self.takes(&[("&&", ())]).is_some() {
            parsed = logical(parsed, self.relation()?, Node::And)?;
        }
        Ok(parsed)
    }

    fn relation(&mut self) -> Parsed {
        const RELATIONS: [(&str, Relation); 6] = [
            ("==", Relation::Equal),
            ("!=", Relation::Unequal),
            ("<", Relation::Less),
            ("<=", Relation::AtMost),
            (">", Relation::More),
            (">=", Relation::AtLeast),
        ];
        let mut parsed = self.sum()?;
        while let Some(relation) = self.takes(&RELATIONS) {
            let (other, other_type) = self.sum()?;
            let (one, one_type) = parsed;
            if (one_type == Type::Bool) != (other_type == Type::Bool) {
                return Err(TYPES);
            }
            let compared = Node::Compare(relation, Box::new(one), Box::new(other));
            parsed = (compared, Type::Bool);
        }
        Ok(parsed)
    }

    fn sum(&mut self) -> Parsed {
        let mut parsed = self.product()?;
        while let Some(operator) = self.takes(&[("+", Operator::Plus), ("-", Operator::Minus)]) {
            parsed = calculated(operator, parsed, self.product()?)?;
        }
        Ok(parsed)
    }

    fn product(&mut self) -> Parsed {
        const OPERATORS: [(&str, Operator); 3] = [
            ("*", Operator::Times),
            ("/", Operator::DividedBy),
            ("%", Operator::Modulo),
        ];
        let mut parsed = self.signed()?;
        while let Some(operator) = self.takes(&OPERATORS) {
            parsed = calculated(operator, parsed, self.signed()?)?;
        }
        Ok(parsed)
    }

    fn signed(&mut self) -> Parsed {
        let mut signs = Vec::new();
        while let Some(is_not) = self.takes(&[("!", true), ("-", false)]) {
            signs.push(is_not);
            if signs.len() > DEEPEST {
                return Err(DEEP);
            }
        }
        let (mut node, of_type) = self.operand()?;
        for is_not in signs.into_iter().rev() {
            if is_not != (of_type == Type::Bool) {
                return Err(TYPES);
            }
            node = if is_not {
                Node::Not(Box::new(node))
            } else {
                Node::Negative(Box::new(node))
            };
        }
        Ok((node, of_type))
    }

    fn operand(&mut self) -> Parsed {
        match self.take().ok_or(INCOMPLETE)? {
            Token::Int(number) => Ok((Node::Literal(Value::Int(number)), Type::Int)),
            Token::Double(number) => Ok((Node::Literal(Value::Double(number)), Type::Double)),
            Token::Symbol("(") => {
                let parsed = self.choice()?;
                self.expect(")")?;
                Ok(parsed)
            }
            Token::Symbol(_) => Err(INCOMPLETE),
            Token::Name("true") => Ok((Node::Literal(Value::Bool(true)), Type::Bool)),
            Token::Name("false") => Ok((Node::Literal(Value::Bool(false)), Type::Bool)),
            Token::Name(name @ ("double" | "int")) => {
                self.expect("(")?;
                let (of, of_type) = self.choice()?;
                self.expect(")")?;
                match (name, of_type) {
                    (_, Type::Bool) => Err(TYPES),
                    ("int", _) => Ok((Node::Int(Box::new(of)), Type::Int)),
                    _ => Ok((Node::Double(Box::new(of)), Type::Double)),
                }
            }
            Token::Name(name) => {
                let count = Count::named(name).ok_or(NAME)?;
                Ok((Node::Count(count), Type::Int))
            }
        }
    }
}

fn logical(
    (one, one_type): (Node, Type),
    (other, other_type): (Node, Type),
    make: fn(Box<Node>, Box<Node>) -> Node,
) -> Parsed {
    if one_type != Type::Bool || other_type != Type::Bool {
        return Err(TYPES);
    }
    Ok((make(Box::new(one), Box::new(other)), Type::Bool))
}

fn calculated(
    operator: Operator,
    (one, one_type): (Node, Type),
    (other, other_type): (Node, Type),
) -> Parsed {
    let is_whole = one_type == Type::Int;
    let fits = one_type == other_type
        && one_type != Type::Bool
        && (is_whole || operator != Operator::Modulo);
    if !fits {
        return Err(TYPES);
    }
    let calculated = Node::Calculate(operator, Box::new(one), Box::new(other));
    Ok((calculated, one_type))
}
