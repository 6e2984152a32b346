//! What a tree says of a value, with a bound on the work.

use std::borrow::Cow;
use std::cell::Cell;

use super::ExpressionError;
use super::parse::{Binary, Function, Node, Over, What};
use super::value::{Kind, Value};

/// Whether a condition holds.
pub(super) fn condition(root: &Node, result: &Value) -> Result<bool, ExpressionError> {
    let evaluation = Evaluation { result, work: Cell::new(0) };
    evaluation.bool(root, None)
}

/// So many parts of conditions are looked at for one answer.
const WORK_MAX: usize = 1_000_000;
/// What is copied costs more: so it is a bound on memory, too.
const COPY: usize = 10;

struct Evaluation<'v> {
    result: &'v Value,
    work: Cell<usize>,
}

/// The entry that `#` stands for.
type Entry<'v> = Option<&'v Value>;

impl<'v> Evaluation<'v> {
    fn value<'e>(
        &'e self,
        node: &'e Node,
        entry: Entry<'e>,
    ) -> Result<Cow<'e, Value>, ExpressionError>
    where
        'v: 'e,
    {
        self.spend(1, node)?;
        let owned = match &node.what {
            What::Constant(value) => return Ok(Cow::Borrowed(value)),
            What::Result => return Ok(Cow::Borrowed(self.result)),
            What::Entry => return Ok(Cow::Borrowed(entry.unwrap_or(&Value::Nil))),
            What::Index(list, index) => return self.entry_of(node, list, index, entry),
            What::List(nodes) => {
                let values = nodes.iter().map(|node| self.owned(node, entry));
                Value::List(values.collect::<Result<_, ExpressionError>>()?)
            }
            What::Not(inner) => Value::Bool(!self.bool(inner, entry)?),
            What::Minus(inner) => Value::Number(-self.number(inner, entry)?),
            What::Binary(Binary::Else, left, right) => {
                let left = self.value(left, entry)?;
                if *left != Value::Nil {
                    return Ok(left);
                }
                return self.value(right, entry);
            }
            What::Binary(operator, left, right) => self.binary(*operator, left, right, entry)?,
            What::Call(Function::Default, arguments) => {
                return self.default(node, arguments, entry);
            }
            What::Call(function, arguments) => self.call(node, *function, arguments, entry)?,
            What::Over(over, list, each) => self.over(*over, list, each, entry)?,
        };
        Ok(Cow::Owned(owned))
    }

    fn binary(
        &self,
        operator: Binary,
        left: &Node,
        right: &Node,
        entry: Entry<'_>,
    ) -> Result<Value, ExpressionError> {
        let numbers = |with: fn(f64, f64) -> f64| -> Result<Value, ExpressionError> {
            Ok(Value::Number(with(self.number(left, entry)?, self.number(right, entry)?)))
        };
        let ordered = |holds: fn(std::cmp::Ordering) -> bool| {
            self.order(left, right, entry).map(|order| Value::Bool(order.is_some_and(holds)))
        };
        match operator {
            Binary::Or => Ok(Value::Bool(self.bool(left, entry)? || self.bool(right, entry)?)),
            Binary::And => Ok(Value::Bool(self.bool(left, entry)? && self.bool(right, entry)?)),
            Binary::Equal => self.equal(left, right, entry).map(Value::Bool),
            Binary::Differs => self.equal(left, right, entry).map(|equal| Value::Bool(!equal)),
            Binary::Less => ordered(|order| order.is_lt()),
            Binary::AtMost => ordered(|order| order.is_le()),
            Binary::More => ordered(|order| order.is_gt()),
            Binary::AtLeast => ordered(|order| order.is_ge()),
            Binary::In => self.is_in(left, right, entry).map(Value::Bool),
            Binary::NotIn => self.is_in(left, right, entry).map(|is| Value::Bool(!is)),
            Binary::Plus => numbers(|a, b| a + b),
            Binary::Minus => numbers(|a, b| a - b),
            Binary::Times => numbers(|a, b| a * b),
            Binary::Divided => numbers(|a, b| a / b),
            Binary::Rest => numbers(|a, b| a % b),
            Binary::Power => numbers(f64::powf),
            // It does not always look at both sides, and was taken care of before.
            Binary::Else => Ok(Value::Nil),
        }
    }

    fn equal(&self, left: &Node, right: &Node, entry: Entry<'_>) -> Result<bool, ExpressionError> {
        let (a, b) = (self.value(left, entry)?, self.value(right, entry)?);
        let nil = *a == Value::Nil || *b == Value::Nil;
        if !nil && a.kind() != b.kind() {
            return Err(differ(left, right, &a, &b));
        }
        self.spend(length(&a).min(length(&b)), left)?;
        Ok(a == b)
    }

    /// `None` where one of them is NaN.
    fn order(
        &self,
        left: &Node,
        right: &Node,
        entry: Entry<'_>,
    ) -> Result<Option<std::cmp::Ordering>, ExpressionError> {
        let (a, b) = (self.value(left, entry)?, self.value(right, entry)?);
        match (&*a, &*b) {
            (Value::Number(a), Value::Number(b)) => Ok(a.partial_cmp(b)),
            (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
            (Value::Nil, _) => Err(nothing(left)),
            (_, Value::Nil) => Err(nothing(right)),
            _ => Err(differ(left, right, &a, &b)),
        }
    }

    fn is_in(&self, left: &Node, right: &Node, entry: Entry<'_>) -> Result<bool, ExpressionError> {
        let value = self.value(left, entry)?;
        let list = self.value(right, entry)?;
        let values = self.list(right, &list)?;
        self.spend(values.len(), right)?;
        Ok(values.contains(&value))
    }

    fn entry_of<'e>(
        &'e self,
        node: &Node,
        list: &'e Node,
        index: &'e Node,
        entry: Entry<'e>,
    ) -> Result<Cow<'e, Value>, ExpressionError> {
        let number = self.number(index, entry)?;
        if number.fract() != 0.0 || number.abs() > 1e9 {
            let message = "an entry is asked for by a whole number";
            return Err(ExpressionError::at(index.at.clone(), message));
        }
        let values = self.value(list, entry)?;
        let length = self.list(list, &values)?.len();
        let place = if number < 0.0 { length as f64 + number } else { number };
        // What is no place in the list is none at all: its entry is nil.
        let place = if place < 0.0 { length } else { place as usize };
        Ok(match values {
            Cow::Borrowed(Value::List(values)) => {
                values.get(place).map_or(Cow::Owned(Value::Nil), Cow::Borrowed)
            }
            values => {
                self.spend(length, node)?;
                match values.into_owned() {
                    Value::List(values) => {
                        Cow::Owned(values.into_iter().nth(place).unwrap_or(Value::Nil))
                    }
                    other => Cow::Owned(other),
                }
            }
        })
    }

    fn default<'e>(
        &'e self,
        node: &Node,
        arguments: &'e [Node],
        entry: Entry<'e>,
    ) -> Result<Cow<'e, Value>, ExpressionError> {
        let [value, otherwise] = arguments else {
            return Err(ExpressionError::at(node.at.clone(), "it takes 2"));
        };
        let value = self.value(value, entry)?;
        match &*value {
            Value::Nil => self.value(otherwise, entry),
            Value::List(values) if values.is_empty() => self.value(otherwise, entry),
            _ => Ok(value),
        }
    }

    fn call(
        &self,
        node: &Node,
        function: Function,
        arguments: &[Node],
        entry: Entry<'_>,
    ) -> Result<Value, ExpressionError> {
        let Some(first) = arguments.first() else {
            return Err(ExpressionError::at(node.at.clone(), "it takes 1"));
        };
        let number = |with: fn(f64) -> f64| self.number(first, entry).map(with).map(Value::Number);
        match function {
            Function::IsNan => Ok(Value::Bool(self.number(first, entry)?.is_nan())),
            Function::IsInf => Ok(Value::Bool(self.number(first, entry)?.is_infinite())),
            Function::IsNil => Ok(Value::Bool(*self.value(first, entry)? == Value::Nil)),
            Function::Len => {
                let value = self.value(first, entry)?;
                match &*value {
                    Value::List(values) => Ok(Value::Number(values.len() as f64)),
                    Value::Text(text) => Ok(Value::Number(text.chars().count() as f64)),
                    _ => Err(wrong(first, Kind::List, &value)),
                }
            }
            Function::Sum | Function::Mean | Function::Min | Function::Max => {
                self.fold(node, function, arguments, entry)
            }
            Function::Abs => number(f64::abs),
            Function::Floor => number(f64::floor),
            Function::Ceil => number(f64::ceil),
            Function::Round => number(f64::round),
            Function::Float => self.read(first, entry).map(Value::Number),
            Function::Int => self.read(first, entry).map(|number| Value::Number(number.trunc())),
            // It does not always look at both, and was taken care of before.
            Function::Default => Ok(Value::Nil),
        }
    }

    /// Of the numbers of one list, or of several numbers.
    fn fold(
        &self,
        node: &Node,
        function: Function,
        arguments: &[Node],
        entry: Entry<'_>,
    ) -> Result<Value, ExpressionError> {
        let mut numbers = Vec::new();
        for argument in arguments {
            match &*self.value(argument, entry)? {
                Value::List(values) => {
                    self.spend(values.len(), argument)?;
                    for value in values {
                        numbers.push(number_of(argument, value)?);
                    }
                }
                value => numbers.push(number_of(argument, value)?),
            }
        }
        if numbers.is_empty() && function != Function::Sum {
            return Err(nothing(node));
        }
        let sum = || numbers.iter().sum::<f64>();
        // One that is NaN makes all of it NaN: what is not known is not left out in silence.
        let unknown = numbers.iter().any(|number| number.is_nan());
        Ok(Value::Number(match function {
            _ if unknown => f64::NAN,
            Function::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
            Function::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Function::Mean => sum() / numbers.len() as f64,
            _ => sum(),
        }))
    }

    fn over(
        &self,
        over: Over,
        list: &Node,
        each: &Node,
        entry: Entry<'_>,
    ) -> Result<Value, ExpressionError> {
        let value = self.value(list, entry)?;
        let values = self.list(list, &value)?;
        let asked = |value: &Value| self.bool(each, Some(value));
        if over == Over::Map {
            let mapped = values.iter().map(|value| self.owned(each, Some(value)));
            return mapped.collect::<Result<_, ExpressionError>>().map(Value::List);
        }
        let mut kept = Vec::new();
        for value in values {
            let holds = asked(value)?;
            match over {
                Over::All if !holds => return Ok(Value::Bool(false)),
                Over::Any if holds => return Ok(Value::Bool(true)),
                Over::None if holds => return Ok(Value::Bool(false)),
                _ if holds => kept.push(value),
                _ => {}
            }
        }
        Ok(match over {
            Over::All | Over::None => Value::Bool(true),
            Over::Any => Value::Bool(false),
            Over::One => Value::Bool(kept.len() == 1),
            Over::Count => Value::Number(kept.len() as f64),
            Over::Filter | Over::Map => {
                self.spend(kept.len().saturating_mul(COPY), list)?;
                Value::List(kept.into_iter().cloned().collect())
            }
        })
    }

    fn bool(&self, node: &Node, entry: Entry<'_>) -> Result<bool, ExpressionError> {
        let value = self.value(node, entry)?;
        match &*value {
            Value::Bool(value) => Ok(*value),
            Value::Nil => Err(nothing(node)),
            _ => Err(wrong(node, Kind::Bool, &value)),
        }
    }

    fn number(&self, node: &Node, entry: Entry<'_>) -> Result<f64, ExpressionError> {
        number_of(node, &*self.value(node, entry)?)
    }

    /// A number, also one that is written in a text.
    fn read(&self, node: &Node, entry: Entry<'_>) -> Result<f64, ExpressionError> {
        let value = self.value(node, entry)?;
        let Value::Text(text) = &*value else { return number_of(node, &value) };
        text.trim()
            .parse()
            .map_err(|_| ExpressionError::at(node.at.clone(), format!("{value} is no number")))
    }

    fn list<'l>(&self, node: &Node, value: &'l Value) -> Result<&'l [Value], ExpressionError> {
        match value {
            Value::List(values) => Ok(values),
            Value::Nil => Err(nothing(node)),
            _ => Err(wrong(node, Kind::List, value)),
        }
    }

    fn owned(&self, node: &Node, entry: Entry<'_>) -> Result<Value, ExpressionError> {
        let value = self.value(node, entry)?;
        self.spend(length(&value).saturating_mul(COPY), node)?;
        Ok(value.into_owned())
    }

    fn spend(&self, work: usize, node: &Node) -> Result<(), ExpressionError> {
        self.work.set(self.work.get().saturating_add(work));
        if self.work.get() <= WORK_MAX {
            return Ok(());
        }
        let message = format!("it takes more than {WORK_MAX} steps on this value");
        Err(ExpressionError::at(node.at.clone(), message))
    }
}

/// What copying it costs.
fn length(value: &Value) -> usize {
    match value {
        Value::List(values) => values.iter().map(length).sum::<usize>() + 1,
        Value::Text(text) => text.len(),
        _ => 1,
    }
}

fn number_of(node: &Node, value: &Value) -> Result<f64, ExpressionError> {
    match value {
        Value::Number(number) => Ok(*number),
        Value::Nil => Err(nothing(node)),
        _ => Err(wrong(node, Kind::Number, value)),
    }
}

fn nothing(node: &Node) -> ExpressionError {
    ExpressionError::absent(node.at.clone(), "there is no value here")
}

fn wrong(node: &Node, kind: Kind, value: &Value) -> ExpressionError {
    let (wanted, is) = (kind.noun(), value.kind().noun());
    ExpressionError::at(node.at.clone(), format!("{wanted} is needed, and this is {is}: {value}"))
}

fn differ(left: &Node, right: &Node, a: &Value, b: &Value) -> ExpressionError {
    let at = left.at.start..right.at.end;
    let (a, b) = (a.kind().noun(), b.kind().noun());
    ExpressionError::at(at, format!("{a} and {b} cannot be compared"))
}
