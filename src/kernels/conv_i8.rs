//! Quantized convolution: u8 activations, i8 weights, by integer products on windows: as the input lies, or as rows that im2col makes.

mod windows;
mod winograd;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::ops::Range;

use super::{
    Io, Kernel, Placement, Prepare,
    choice::Method,
    depthwise_i8,
    gemm_i8::{Columns, Gemm, InPlace, Packed, RowSource, Rows, Scheme, Store, Weights, padded_depth},
    im2col::{Geometry, im2col},
    linear_i8::{ColumnSet, Linear, Parameters, Product},
    team::{Crew, Shared},
};
use crate::{
    error::{Result, bail, ensure},
    graph::ops::Conv,
    tensor::DType,
};
use windows::{Image, Windows};
use winograd::Winograd;

/// Prepares a convolution whose input is u8.
#[inline(never)]
#[cfg_attr(small, optimize(size))]
pub(crate) fn prepare(conv: &Conv, p: &mut Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (Some(x), Some(weight), Some(output)) = (p.inputs.first(), p.inputs.get(1), p.outputs.first()) else {
        bail!(InvalidModel, "a convolution needs input, weight and output");
    };
    let geometry = Geometry::new(conv, &x.shape, &weight.shape, &output.shape)?;
    let (n, k) = (geometry.out_channels, geometry.depth());
    let linear = Linear::new(&p.inputs, output, (conv.bias, conv.dynamic), conv.activation, 0, (n, k), p.then.as_ref())?;
    let Some(bytes) = weight.data else {
        bail!(Unsupported, "the weight of a quantized convolution must be a constant");
    };
    ensure!(bytes.len() == n * k, InvalidModel, "weight has {} bytes, its shape needs {}", bytes.len(), n * k);
    let (id, unsigned) = (weight.id, weight.dtype == DType::U8);
    if geometry.is_depthwise() && n == geometry.channels {
        return depthwise_i8::prepare(geometry, linear, id, bytes, unsigned, p.packed);
    }
    let method = p.choice.method;
    let mut scheme = Scheme::of(p.choice);
    let per_group = n / geometry.groups;
    // Corrections by row need the rows themselves.
    let direct = !linear.is_staged();
    let winograd = match method {
        Method::Auto if direct && !unsigned && winograd::applies(&geometry, scheme) => Winograd::new(&geometry, bytes, p.choice),
        Method::Winograd if direct && !unsigned => Winograd::new(&geometry, bytes, p.choice),
        _ => None,
    };
    if winograd.is_some() {
        scheme = Scheme::of_winograd();
    }
    let windows =
        if direct && winograd.is_none() && method != Method::Rows { Windows::new(&geometry, scheme, p.choice) } else { None };
    let padded = windows.as_ref().and_then(|_| Windows::pad_filters(&geometry, bytes, unsigned));
    let layout = match (&winograd, &padded, scheme.widens()) {
        (Some(_), ..) => "conv_i8, by tap",
        (_, Some(_), false) => "conv_i8, padded",
        (_, Some(_), true) => "conv_i8, padded, widened",
        (_, None, false) => "conv_i8",
        (_, None, true) => "conv_i8, widened",
    };
    let packed = p.packed.get(id, layout, || {
        if let Some(winograd) = &winograd {
            return Ok(Vec::from([winograd.pack(&geometry, bytes)?]));
        }
        let (bytes, k) = padded.as_ref().map_or((bytes, k), |padded| (padded, padded.len() / n.max(1)));
        let group = |g: usize| {
            let weights = Weights { unsigned, ..Weights::by_column(&bytes[g * per_group * k..][..per_group * k], k) };
            Packed::new(scheme, weights, per_group, k)
        };
        (0..geometry.groups).map(group).collect::<Result<Vec<Packed>>>()
    })?;
    let gemm = match &windows {
        Some(windows) => windows.gemm(&geometry, scheme, n),
        None => Gemm::new(scheme, geometry.rows(), per_group, k, linear.is_staged(), p.choice),
    };
    p.made = match (&winograd, &windows) {
        (Some(winograd), _) => winograd.made(),
        (_, Some(_)) => gemm.made(Method::Windows),
        _ => gemm.made(Method::Rows),
    };
    let place = p.placement(n);
    let mut kernel = ConvI8 { geometry, linear, gemm, winograd, windows, place, packed, parameters: Vec::new() };
    kernel.parameters = (0..kernel.packed.len()).map(|g| kernel.linear.parameters(&kernel.columns(g), true)).collect();
    Ok(Box::new(kernel))
}

struct ConvI8 {
    geometry: Geometry,
    linear: Linear,
    /// The product of one group.
    gemm: Gemm,
    /// How it is computed by fewer products, if it is.
    winograd: Option<Winograd>,
    /// How windows are read, unless im2col makes rows of them.
    windows: Option<Windows>,
    place: Placement,
    /// One per group, like the parameters.
    packed: Arc<Vec<Packed>>,
    parameters: Vec<Parameters>,
}

impl ConvI8 {
    fn columns(&self, group: usize) -> ColumnSet<'_> {
        let Gemm { n, k, scheme, .. } = self.gemm;
        ColumnSet { channels: group * n..(group + 1) * n, k, row_offset: scheme.row_offset(), sums: &self.packed[group].sums }
    }
}

impl Kernel for ConvI8 {
    fn scratch(&self) -> usize {
        self.linear.scratch(self.gemm.padded_columns()) + self.winograd.as_ref().map_or(0, Winograd::scratch)
    }

    fn own_scratch(&self) -> usize {
        self.winograd.as_ref().map_or_else(|| self.gemm.scratch(), Winograd::own_scratch)
    }

    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let x = io.input::<u8>(0);
        let g = &self.geometry;
        ensure!(x.len() >= g.batch * g.input[0] * g.input[1] * g.channels, Internal, "the input of a convolution is too short");
        let rows = self.linear.rows(io)?;
        let (out, scratch, crew) = io.output_scratch_and_crew::<u8>(0);
        let own = self.linear.scratch(self.gemm.padded_columns()).min(scratch.len());
        let (scratch, filters) = scratch.split_at_mut(own);
        let filters = Shared::new(filters);
        for (group, (packed, parameters)) in self.packed.iter().zip(&self.parameters).enumerate() {
            let channels = group * g.group_channels()..(group + 1) * g.group_channels();
            let product = Group { kernel: self, x, channels, fill: rows.zero_point, filters: &filters };
            let set = self.columns(group);
            let offset = self.place.offset + set.channels.start;
            self.linear.run(&set, &packed.bytes, parameters, rows, &product, out, offset, scratch, crew)?;
        }
        Ok(())
    }
}

/// One group of a convolution.
struct Group<'a> {
    kernel: &'a ConvI8,
    x: &'a [u8],
    channels: Range<usize>,
    fill: u8,
    /// Scratch space for filters at Winograd's points.
    filters: &'a Shared<'a, u8>,
}

impl Product for Group<'_> {
    fn run<F: Store>(&self, columns: Columns<'_>, finish: &F, out: &mut [F::Out], crew: Crew<'_>) -> Result<()> {
        let ConvI8 { geometry: g, gemm, winograd, windows, place: Placement { stride, .. }, .. } = self.kernel;
        if let Some(winograd) = winograd {
            let operands = (columns.packed, columns.init);
            // SAFETY: groups run one after the other.
            let filters = unsafe { self.filters.part(0..self.filters.len()) };
            return winograd.run(g, (self.x, self.fill), operands, finish, out, *stride, filters, crew);
        }
        if let Some(windows) = windows {
            let (from, to) = (g.input[0] * g.input[1] * g.channels, g.output[0] * g.output[1] * stride);
            for image in 0..g.batch {
                let source = Image { windows, g, x: &self.x[image * from..][..from], fill: self.fill };
                gemm.run(&source, columns, finish, out.get_mut(image * to..).unwrap_or_default(), *stride, crew)?;
            }
            return Ok(());
        }
        if g.is_pointwise() && g.groups == 1 && g.channels.is_multiple_of(4) {
            let source = InPlace { bytes: self.x, stride: g.channels };
            gemm.run(&source, columns, finish, out, *stride, crew)
        } else {
            gemm.run(self, columns, finish, out, *stride, crew)
        }
    }
}

impl RowSource for Group<'_> {
    fn rows<'s>(&'s self, range: Range<usize>, scratch: &'s mut [u8]) -> Rows<'s> {
        let stride = padded_depth(self.kernel.gemm.k);
        im2col(&self.kernel.geometry, self.x, self.channels.clone(), range, self.fill, stride, scratch);
        Rows::Apart { bytes: scratch, stride }
    }
}

#[cfg(test)]
mod tests;
