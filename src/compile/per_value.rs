//! Models for which the values of some inputs decide shapes, or which make sense for some shapes only: they are compiled again for every
//! new set of such values.
//!
//! What was compiled is kept, a bounded number of times, so that a caller who gives the same values pays once.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};

use super::{
    Compiled, Options, Resident, compile,
    fallback::check_input,
    front::{NoPlan, plan_of},
    import::{self, Ports},
    values::symbols,
};
use crate::{
    error::{Result, bail, ensure},
    graph::plan::Plan,
    runtime::{DimInfo, PortInfo, Session},
    tensor::{DType, Tensor, TensorView},
};

/// How many sets of values are kept.
pub(super) const KEPT: usize = 8;

/// Sizes that a model is tried with when it is loaded: of the first axes of its inputs, and of the others.
pub(super) const TRIAL_SIZES: [(usize, usize); 5] = [(1, 32), (1, 224), (1, 512), (32, 32), (1, 1)];

/// A model that is compiled when values are known.
pub struct PerValue {
    onnx: Vec<u8>,
    options: Options,
    ports: Ports,
    /// Names of the inputs that decide.
    deciding: Vec<String>,
    /// Whether shapes have to be known, too.
    shapes: bool,
    /// The most recently used last.
    kept: Vec<(Known, Runner)>,
}

/// What a model was compiled for.
#[derive(Default)]
struct Known {
    values: Vec<Tensor>,
    dimensions: Vec<(String, usize)>,
}

enum Runner {
    Plan(Box<Session>),
    Resident(Box<Resident>),
}

impl PerValue {
    /// A model of which some inputs decide; `None` if none does.
    pub(super) fn of_values(onnx: &[u8], options: &Options) -> Result<Option<PerValue>> {
        let deciding = import::deciding(onnx, options)?;
        match Ports::read(onnx) {
            Ok(ports) if !deciding.is_empty() => Ok(Some(Self::with(onnx, options, ports, deciding, false))),
            _ => Ok(None),
        }
    }

    /// A model that can be compiled only when all shapes are known; `None` if it cannot even then, or if they are known already.
    pub(super) fn of_shapes(onnx: &[u8], options: &Options) -> Option<PerValue> {
        let ports = Ports::read(onnx).ok()?;
        let unknown = symbols(&ports.inputs).iter().any(|name| options.dimensions.iter().all(|(known, _)| known != *name));
        // Batches may be an axis in the middle, as of a state beside a signal.
        let trials = TRIAL_SIZES.map(|sizes| (sizes, false)).into_iter().chain([((1, 512), true)]);
        let fits = unknown
            && trials.into_iter().any(|((first, other), last)| {
                let mut options = options.clone();
                for port in &ports.inputs {
                    for (axis, dim) in port.shape.iter().enumerate() {
                        let DimInfo::Symbol(name) = dim else { continue };
                        let batch = if last { axis + 1 < port.shape.len() } else { axis == 0 };
                        options.dimensions.push((name.clone(), if batch { first } else { other }));
                    }
                }
                compile(onnx, &options).is_ok()
            });
        fits.then(|| Self::with(onnx, options, ports, Vec::new(), true))
    }

    fn with(onnx: &[u8], options: &Options, mut ports: Ports, deciding: Vec<String>, shapes: bool) -> PerValue {
        ports.inputs.retain(|port| options.constants.iter().all(|(name, _)| *name != port.name));
        for dim in ports.inputs.iter_mut().flat_map(|port| &mut port.shape) {
            if let DimInfo::Symbol(name) = dim
                && let Some((_, size)) = options.dimensions.iter().find(|(known, _)| known == name)
            {
                *dim = DimInfo::Fixed(*size);
            }
        }
        PerValue { onnx: onnx.to_vec(), options: options.clone(), ports, deciding, shapes, kept: Vec::new() }
    }

    /// The model's inputs, those that decide included.
    pub fn inputs(&self) -> &[PortInfo] {
        &self.ports.inputs
    }

    /// The model's outputs, as far as the model describes them.
    pub fn outputs(&self) -> &[PortInfo] {
        &self.ports.outputs
    }

    /// The inputs whose values decide.
    pub fn deciding(&self) -> &[String] {
        &self.deciding
    }

    /// Whether all inputs that decide are integers or booleans.
    pub(super) fn deciding_are_integers(&self) -> bool {
        let float = |port: &&PortInfo| matches!(port.dtype, DType::F32 | DType::F64 | DType::F16);
        !self.ports.inputs.iter().filter(float).any(|port| self.deciding.contains(&port.name))
    }

    /// Whether the last run was tract's.
    pub fn on_tract(&self) -> bool {
        matches!(self.kept.last(), Some((_, Runner::Resident(model))) if model.on_tract())
    }

    /// Runs the model. Inputs may come in any order; each must be there once.
    pub fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Vec<(String, Tensor)>> {
        let known = self.known(inputs)?;
        if let Err(error) = self.prepare(known) {
            if self.shapes {
                return Err(error);
            }
            // Values alone may leave too much open.
            self.shapes = true;
            if let Err(error) = self.known(inputs).and_then(|known| self.prepare(known)) {
                self.shapes = false;
                return Err(error);
            }
        }
        let rest: Vec<(&str, TensorView<'_>)> =
            inputs.iter().filter(|(n, _)| self.deciding.iter().all(|d| d != n)).copied().collect();
        match self.kept.last_mut() {
            Some((_, Runner::Plan(session))) => {
                Ok(session.run(&rest)?.iter().map(|(n, v)| (n.to_owned(), v.to_tensor())).collect())
            }
            Some((_, Runner::Resident(model))) => model.run(&rest),
            None => bail!(Internal, "what was kept is gone"),
        }
    }

    /// What the inputs of a run say about what the model must be compiled for.
    fn known(&self, inputs: &[(&str, TensorView<'_>)]) -> Result<Known> {
        let mut known = Known::default();
        for port in self.ports.inputs.iter().filter(|p| self.shapes || self.deciding.contains(&p.name)) {
            let name = &port.name;
            let mut given = inputs.iter().filter(|(n, _)| n == name);
            let Some((_, view)) = given.next() else { bail!(InvalidInput, "input '{name}' is missing") };
            ensure!(given.next().is_none(), InvalidInput, "input '{name}' is given twice");
            check_input(port, view)?;
            if self.deciding.contains(name) {
                known.values.push(view.to_tensor());
            }
            for (dim, &size) in port.shape.iter().zip(view.shape).filter(|_| self.shapes) {
                let DimInfo::Symbol(symbol) = dim else { continue };
                match known.dimensions.iter().find(|(n, _)| n == symbol) {
                    Some((_, other)) => ensure!(
                        *other == size,
                        InvalidInput,
                        "input '{name}' has {size} for the dimension '{symbol}', another input has {other}"
                    ),
                    None => known.dimensions.push((symbol.clone(), size)),
                }
            }
        }
        Ok(known)
    }

    /// Puts what runs the model for these values at the end of what is kept.
    fn prepare(&mut self, known: Known) -> Result<()> {
        let entry = match self.kept.iter().position(|(kept, _)| kept.same(&known)) {
            Some(i) => self.kept.remove(i),
            None => {
                let mut options = self.options.clone();
                options.constants.extend(self.deciding.iter().cloned().zip(known.values.iter().cloned()));
                options.dimensions.extend(known.dimensions.iter().cloned());
                (known, self.runner(&options)?)
            }
        };
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        self.kept.push(entry);
        Ok(())
    }

    fn runner(&self, options: &Options) -> Result<Runner> {
        // Values may leave too much open. Sizes are settled next then; whether another executor needs none takes long to find out.
        if !self.shapes && !symbols(&self.ports.inputs).is_empty() {
            match plan_of(&self.onnx, options) {
                Ok(plan) => return self.session(plan),
                Err(NoPlan { operators, error: Some(error) }) if operators.is_empty() => return Err(error),
                Err(_) => (),
            }
        }
        match compile(&self.onnx, options)? {
            Compiled::Plan { plan, .. } => self.session(plan),
            Compiled::Fallback { model, .. } => Ok(Runner::Resident(Box::new(model))),
        }
    }

    fn session(&self, plan: Plan) -> Result<Runner> {
        Ok(Runner::Plan(Box::new(Session::with_limits(plan, &self.options.limits)?)))
    }
}

impl Known {
    fn same(&self, other: &Known) -> bool {
        let equal = |(a, b): (&Tensor, &Tensor)| a.shape() == b.shape() && a.bytes() == b.bytes();
        self.dimensions == other.dimensions
            && self.values.len() == other.values.len()
            && self.values.iter().zip(&other.values).all(equal)
    }
}
