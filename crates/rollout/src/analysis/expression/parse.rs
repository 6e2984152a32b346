//! From words to a tree, by what binds closest; kinds are held against each other on the way.

use std::ops::Range;

use umbra_document::suggest::advice;

use super::ExpressionError;
use super::token::{ENTRY, Token, tokens};
use super::value::{Kind, Value};

/// A part of a condition.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) at: Range<usize>,
    pub(super) what: What,
    kind: Kind,
    depth: usize,
}

#[derive(Clone)]
pub(super) enum What {
    Constant(Value),
    Result,
    /// What `#` stands for.
    Entry,
    List(Vec<Node>),
    Not(Box<Node>),
    Minus(Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    Index(Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
    /// The list, and what is asked of each entry.
    Over(Over, Box<Node>, Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    Differs,
    Less,
    AtMost,
    More,
    AtLeast,
    In,
    NotIn,
    Plus,
    Minus,
    Times,
    Divided,
    Rest,
    Power,
    Else,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    IsNan,
    IsInf,
    IsNil,
    Default,
    Len,
    Sum,
    Mean,
    Min,
    Max,
    Abs,
    Floor,
    Ceil,
    Round,
    Float,
    Int,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    All,
    Any,
    None,
    One,
    Count,
    Filter,
    Map,
}

/// Name, function, least and most arguments, what it gives.
const FUNCTIONS: [(&str, Function, usize, usize, Kind); 17] = [
    ("isNaN", Function::IsNan, 1, 1, Kind::Bool),
    ("isInf", Function::IsInf, 1, 1, Kind::Bool),
    ("isNil", Function::IsNil, 1, 1, Kind::Bool),
    ("default", Function::Default, 2, 2, Kind::Any),
    ("len", Function::Len, 1, 1, Kind::Number),
    ("sum", Function::Sum, 1, 1, Kind::Number),
    ("mean", Function::Mean, 1, 1, Kind::Number),
    ("min", Function::Min, 1, ARGUMENTS_MAX, Kind::Number),
    ("max", Function::Max, 1, ARGUMENTS_MAX, Kind::Number),
    ("abs", Function::Abs, 1, 1, Kind::Number),
    ("floor", Function::Floor, 1, 1, Kind::Number),
    ("ceil", Function::Ceil, 1, 1, Kind::Number),
    ("round", Function::Round, 1, 1, Kind::Number),
    ("float", Function::Float, 1, 1, Kind::Number),
    ("asFloat", Function::Float, 1, 1, Kind::Number),
    ("int", Function::Int, 1, 1, Kind::Number),
    ("asInt", Function::Int, 1, 1, Kind::Number),
];

/// Name, what is done, what is asked of each entry, what it gives.
const OVERS: [(&str, Over, Kind, Kind); 7] = [
    ("all", Over::All, Kind::Bool, Kind::Bool),
    ("any", Over::Any, Kind::Bool, Kind::Bool),
    ("none", Over::None, Kind::Bool, Kind::Bool),
    ("one", Over::One, Kind::Bool, Kind::Bool),
    ("count", Over::Count, Kind::Bool, Kind::Number),
    ("filter", Over::Filter, Kind::Bool, Kind::List),
    ("map", Over::Map, Kind::Any, Kind::List),
];

const WORDS: [&str; 4] = ["result", "true", "false", "nil"];
const ARGUMENTS_MAX: usize = 100;
/// Neither a text that is nested deeper nor a tree that is higher is taken: whatever walks it
/// walks it by calling itself.
const DEPTH_MAX: usize = 64;

/// A whole text.
pub(super) fn condition(text: &str) -> Result<Node, ExpressionError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, end: text.len(), next: 0, depth: 0, entries: 0 };
    let root = parser.binary(0)?;
    if let Some((_, at)) = parser.tokens.get(parser.next) {
        return Err(ExpressionError::at(at.clone(), "the condition is over before this"));
    }
    root.must_be(Kind::Bool, "a condition is")?;
    Ok(root)
}

struct Parser<'t> {
    tokens: &'t [(Token, Range<usize>)],
    end: usize,
    next: usize,
    depth: usize,
    /// How many lists are gone through here: whether `#` stands for something.
    entries: usize,
}

impl Parser<'_> {
    /// Everything that binds at least as close as `least`.
    fn binary(&mut self, least: u8) -> Result<Node, ExpressionError> {
        let start = self.place().start;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(too_deep(self.place()));
        }
        let mut left = self.unary()?;
        while let Some((operator, closeness, words)) = self.operator() {
            if closeness < least {
                break;
            }
            self.next += words;
            // What is written first is done first, but for powers.
            let right = self.binary(closeness + u8::from(operator != Binary::Power))?;
            let at = start..right.at.end;
            left = operation(operator, left, right, at)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, ExpressionError> {
        let start = self.place();
        let not = self.takes("!") || self.takes_name("not");
        if !not && !self.takes("-") {
            return match self.takes("+") {
                true => self.operand(start.clone()).and_then(|node| node.number()),
                false => self.postfix(),
            };
        }
        let inner = self.operand(start.clone())?;
        let at = start.start..inner.at.end;
        if not {
            inner.must_be(Kind::Bool, "only of true and false there is an opposite; this is")?;
            return node(at, Kind::Bool, inner.depth, What::Not(Box::new(inner)));
        }
        let inner = inner.number()?;
        node(at, Kind::Number, inner.depth, What::Minus(Box::new(inner)))
    }

    /// What a sign before it is about; powers bind closer.
    fn operand(&mut self, at: Range<usize>) -> Result<Node, ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(too_deep(at));
        }
        let start = self.place().start;
        let mut inner = self.unary()?;
        if self.takes("**") || self.takes("^") {
            let right = self.operand(at)?;
            let at = start..right.at.end;
            inner = operation(Binary::Power, inner, right, at)?;
        }
        self.depth -= 1;
        Ok(inner)
    }

    fn postfix(&mut self) -> Result<Node, ExpressionError> {
        let mut inner = self.primary()?;
        while self.takes("[") {
            let index = self.binary(0)?.number()?;
            let end = self.expect("]")?;
            inner.must_be(Kind::List, "only lists have entries; this is")?;
            let (at, depth) = (inner.at.start..end, inner.depth.max(index.depth));
            inner = node(at, Kind::Any, depth, What::Index(Box::new(inner), Box::new(index)))?;
        }
        Ok(inner)
    }

    fn primary(&mut self) -> Result<Node, ExpressionError> {
        let Some((token, at)) = self.tokens.get(self.next) else {
            let at = self.end..self.end;
            return Err(ExpressionError::at(at, "a value is missing at the end"));
        };
        let at = at.clone();
        self.next += 1;
        match token {
            Token::Number(number) => constant(at, Value::Number(*number)),
            Token::Text(text) => constant(at, Value::Text(text.clone())),
            Token::Name(name) => self.name(name, at),
            Token::Sign("(") => {
                let inner = self.binary(0)?;
                let end = self.expect(")")?;
                Ok(Node { at: at.start..end, ..inner })
            }
            Token::Sign("[") => {
                let (values, end) = self.arguments("]", at.start)?;
                let depth = values.iter().map(|node| node.depth).max().unwrap_or(0);
                node(at.start..end, Kind::List, depth, What::List(values))
            }
            Token::Sign(ENTRY) if self.entries > 0 => node(at, Kind::Any, 0, What::Entry),
            Token::Sign(ENTRY) => {
                let message = "`#` stands for an entry within `all(list, {...})` and the like";
                Err(ExpressionError::at(at, message))
            }
            Token::Sign(sign) => {
                let message = format!("a value is expected before `{sign}`");
                Err(ExpressionError::at(at, message))
            }
        }
    }

    fn name(&mut self, name: &str, at: Range<usize>) -> Result<Node, ExpressionError> {
        match name {
            "result" => return node(at, Kind::Any, 0, What::Result),
            "true" => return constant(at, Value::Bool(true)),
            "false" => return constant(at, Value::Bool(false)),
            "nil" | "null" => return constant(at, Value::Nil),
            _ => {}
        }
        if let Some((_, over, asked, gives)) = OVERS.iter().find(|(known, ..)| *known == name) {
            return self.over(*over, (*asked, *gives), at);
        }
        if let Some((_, function, least, most, gives)) =
            FUNCTIONS.iter().find(|(known, ..)| *known == name)
        {
            return self.call(*function, (*least, *most), *gives, at);
        }
        let known: Vec<&str> = WORDS
            .into_iter()
            .chain(FUNCTIONS.iter().map(|(name, ..)| *name))
            .chain(OVERS.iter().map(|(name, ..)| *name))
            .collect();
        let help = advice(name, &known).filter(|help| help.starts_with("did"));
        let help = help.map(|help| format!(", {help}")).unwrap_or_default();
        let shown: String = name.chars().take(60).collect();
        Err(ExpressionError::at(at, format!("nothing is called `{shown}`{help}")))
    }

    fn call(
        &mut self,
        function: Function,
        (least, most): (usize, usize),
        gives: Kind,
        at: Range<usize>,
    ) -> Result<Node, ExpressionError> {
        self.expect("(")?;
        let (arguments, end) = self.arguments(")", at.start)?;
        let at = at.start..end;
        if !(least..=most).contains(&arguments.len()) {
            let count = arguments.len();
            let wanted = if least == most { least.to_string() } else { "one or more".to_owned() };
            let message = format!("it takes {wanted}, and here are {count}");
            return Err(ExpressionError::at(at, message));
        }
        let depth = arguments.iter().map(|node| node.depth).max().unwrap_or(0);
        node(at, gives, depth, What::Call(function, arguments))
    }

    fn over(
        &mut self,
        over: Over,
        (asked, gives): (Kind, Kind),
        at: Range<usize>,
    ) -> Result<Node, ExpressionError> {
        self.expect("(")?;
        let list = self.binary(0)?;
        list.must_be(Kind::List, "it goes through a list; this is")?;
        self.expect(",")?;
        let braces = self.takes("{");
        self.entries += 1;
        let each = self.binary(0)?;
        self.entries -= 1;
        each.must_be(asked, "what is asked of each entry is")?;
        if braces {
            self.expect("}")?;
        }
        let end = self.expect(")")?;
        let depth = list.depth.max(each.depth);
        node(at.start..end, gives, depth, What::Over(over, Box::new(list), Box::new(each)))
    }

    /// Values with commas between them, up to a sign.
    fn arguments(
        &mut self,
        last: &'static str,
        start: usize,
    ) -> Result<(Vec<Node>, usize), ExpressionError> {
        let mut arguments = Vec::new();
        loop {
            let at = self.place();
            if arguments.is_empty() && self.takes(last) {
                return Ok((arguments, at.end));
            }
            if arguments.len() >= ARGUMENTS_MAX {
                let message = format!("at most {ARGUMENTS_MAX} values stand in a list");
                return Err(ExpressionError::at(start..at.end, message));
            }
            arguments.push(self.binary(0)?);
            if !self.takes(",") {
                return self.expect(last).map(|end| (arguments, end));
            }
        }
    }

    /// The operator that comes next, how close it binds, and how many words it is.
    fn operator(&self) -> Option<(Binary, u8, usize)> {
        let (token, _) = self.tokens.get(self.next)?;
        let second = self.tokens.get(self.next + 1).map(|(token, _)| token);
        let in_is_second = second.is_some_and(|token| *token == Token::Name("in".to_owned()));
        Some(match token {
            Token::Sign("||") => (Binary::Or, 1, 1),
            Token::Name(name) if name == "or" => (Binary::Or, 1, 1),
            Token::Sign("&&") => (Binary::And, 2, 1),
            Token::Name(name) if name == "and" => (Binary::And, 2, 1),
            Token::Sign("==") => (Binary::Equal, 3, 1),
            Token::Sign("!=") => (Binary::Differs, 3, 1),
            Token::Sign("<") => (Binary::Less, 3, 1),
            Token::Sign("<=") => (Binary::AtMost, 3, 1),
            Token::Sign(">") => (Binary::More, 3, 1),
            Token::Sign(">=") => (Binary::AtLeast, 3, 1),
            Token::Name(name) if name == "in" => (Binary::In, 3, 1),
            Token::Name(name) if name == "not" && in_is_second => (Binary::NotIn, 3, 2),
            Token::Sign("+") => (Binary::Plus, 4, 1),
            Token::Sign("-") => (Binary::Minus, 4, 1),
            Token::Sign("*") => (Binary::Times, 5, 1),
            Token::Sign("/") => (Binary::Divided, 5, 1),
            Token::Sign("%") => (Binary::Rest, 5, 1),
            Token::Sign("**" | "^") => (Binary::Power, 6, 1),
            Token::Sign("??") => (Binary::Else, 7, 1),
            _ => return None,
        })
    }

    fn takes(&mut self, sign: &'static str) -> bool {
        self.takes_token(&Token::Sign(sign))
    }

    fn takes_name(&mut self, name: &str) -> bool {
        self.takes_token(&Token::Name(name.to_owned()))
    }

    fn takes_token(&mut self, wanted: &Token) -> bool {
        let is = self.tokens.get(self.next).is_some_and(|(token, _)| token == wanted);
        self.next += usize::from(is);
        is
    }

    /// Where the sign ends.
    fn expect(&mut self, sign: &'static str) -> Result<usize, ExpressionError> {
        let at = self.place();
        match self.takes(sign) {
            true => Ok(at.end),
            false => Err(ExpressionError::at(at, format!("`{sign}` is expected here"))),
        }
    }

    /// Where the next word stands.
    fn place(&self) -> Range<usize> {
        self.tokens.get(self.next).map_or(self.end..self.end, |(_, at)| at.clone())
    }
}

impl Node {
    /// An error, that begins with `begins`, unless it may be one.
    fn must_be(&self, kind: Kind, begins: &str) -> Result<(), ExpressionError> {
        if self.kind.may_be(kind) {
            return Ok(());
        }
        let (wanted, is) = (kind.noun(), self.kind.noun());
        let message = match begins.ends_with("this is") {
            true => format!("{begins} {is}"),
            false => format!("{begins} {wanted}, and this is {is}"),
        };
        Err(ExpressionError::at(self.at.clone(), message))
    }

    fn number(self) -> Result<Self, ExpressionError> {
        self.must_be(Kind::Number, "here stands")?;
        Ok(self)
    }
}

fn constant(at: Range<usize>, value: Value) -> Result<Node, ExpressionError> {
    node(at, value.kind(), 0, What::Constant(value))
}

/// One level above the highest below it.
fn node(at: Range<usize>, kind: Kind, below: usize, what: What) -> Result<Node, ExpressionError> {
    if below >= DEPTH_MAX {
        return Err(too_deep(at));
    }
    Ok(Node { at, what, kind, depth: below + 1 })
}

fn too_deep(at: Range<usize>) -> ExpressionError {
    ExpressionError::at(at, format!("it is nested deeper than {DEPTH_MAX} levels"))
}

fn operation(
    operator: Binary,
    left: Node,
    right: Node,
    at: Range<usize>,
) -> Result<Node, ExpressionError> {
    let kind = match operator {
        Binary::Or | Binary::And => {
            left.must_be(Kind::Bool, "on both sides of it stands")?;
            right.must_be(Kind::Bool, "on both sides of it stands")?;
            Kind::Bool
        }
        Binary::Equal | Binary::Differs => {
            comparable(&left, &right, &[Kind::Nil])?;
            Kind::Bool
        }
        Binary::Less | Binary::AtMost | Binary::More | Binary::AtLeast => {
            comparable(&left, &right, &[])?;
            for side in [&left, &right] {
                if matches!(side.kind, Kind::Bool | Kind::List | Kind::Nil) {
                    let message = format!("{} is neither more nor less", side.kind.noun());
                    return Err(ExpressionError::at(side.at.clone(), message));
                }
            }
            Kind::Bool
        }
        Binary::In | Binary::NotIn => {
            right.must_be(Kind::List, "to the right of `in` stands")?;
            Kind::Bool
        }
        Binary::Else => Kind::Any,
        _ => {
            left.must_be(Kind::Number, "on both sides of it stands")?;
            right.must_be(Kind::Number, "on both sides of it stands")?;
            Kind::Number
        }
    };
    let depth = left.depth.max(right.depth);
    node(at, kind, depth, What::Binary(operator, Box::new(left), Box::new(right)))
}

fn comparable(left: &Node, right: &Node, besides: &[Kind]) -> Result<(), ExpressionError> {
    let besides = besides.contains(&left.kind) || besides.contains(&right.kind);
    if besides || left.kind.may_be(right.kind) {
        return Ok(());
    }
    let (left, right, at) = (left.kind.noun(), right.kind.noun(), left.at.start..right.at.end);
    Err(ExpressionError::at(at, format!("{left} and {right} cannot be compared")))
}
