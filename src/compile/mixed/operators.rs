//! The interpreted operators by name.

use super::{call::Builtin, cast, labels, movement, numeric, random, select, sequence, svm, text, tfidf, train};

/// When an operator is interpreted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Always: the graph cannot express it.
    Always,
    /// Always, for the length of its result depends on data; tract has it, too.
    DataDependent,
    /// Where there is no plan for it, or its operands are strings or of a narrow type.
    NoPlan,
}

/// An operator of ours.
#[derive(Clone, Copy)]
pub(super) struct Operator {
    pub run: Builtin,
    pub when: When,
}

/// Names as `import` writes them: with the domain, unless it is ONNX's own.
pub(super) fn of(op_type: &str) -> Option<Operator> {
    use When::{Always, DataDependent, NoPlan};
    let (run, when): (Builtin, When) = match op_type {
        "SequenceConstruct" => (sequence::construct, Always),
        "SequenceEmpty" => (sequence::empty, Always),
        "SequenceInsert" => (sequence::insert, Always),
        "SequenceErase" => (sequence::erase, Always),
        "SequenceAt" => (sequence::at, Always),
        "SequenceLength" => (sequence::length, Always),
        "SplitToSequence" => (sequence::split_to, Always),
        "ConcatFromSequence" => (sequence::concat_from, Always),
        "Optional" => (sequence::optional, Always),
        "OptionalHasElement" => (sequence::has_element, Always),
        "OptionalGetElement" => (sequence::get_element, Always),
        "StringNormalizer" => (text::normalize, Always),
        "StringConcat" => (text::concat, Always),
        "StringSplit" => (text::split, Always),
        "TfIdfVectorizer" => (tfidf::vectorize, Always),
        "LabelEncoder" => (labels::encode, Always),
        "CategoryMapper" => (labels::encode, Always),
        "ZipMap" => (labels::zip_map, Always),
        "DictVectorizer" => (labels::vectorize, Always),
        "OneHotEncoder" => (labels::one_hot, Always),
        "Binarizer" => (labels::binarize, Always),
        "ArrayFeatureExtractor" => (select::columns, Always),
        NAME_CLASSES => (labels::name_classes, Always),
        "SVMClassifier" => (svm::classify, Always),
        "SVMRegressor" => (svm::regress, Always),
        "Unique" => (select::unique, Always),
        "NonZero" => (select::non_zero, DataDependent),
        "Compress" => (select::compress, DataDependent),
        "NonMaxSuppression" => (select::non_max_suppression, DataDependent),
        "Bernoulli" => (random::bernoulli, Always),
        "Multinomial" => (random::multinomial, DataDependent),
        "RandomUniform" | "RandomNormal" => (random::of_shape, DataDependent),
        "RandomUniformLike" | "RandomNormalLike" => (random::like, DataDependent),
        "Dropout" => (random::dropout, NoPlan),
        "BatchNormalization" => (train::batch_norm, NoPlan),
        "ai.onnx.preview.training.Adagrad" => (train::adagrad, Always),
        "ai.onnx.preview.training.Adam" => (train::adam, Always),
        "ai.onnx.preview.training.Momentum" => (train::momentum, Always),
        "Det" => (numeric::det, Always),
        "CumProd" => (numeric::cum_prod, Always),
        "BitCast" => (numeric::bit_cast, Always),
        "Range" => (numeric::range, NoPlan),
        "ConstantOfShape" => (numeric::constant_of_shape, NoPlan),
        "Cast" => (cast::cast, NoPlan),
        "CastLike" => (cast::cast_like, NoPlan),
        "QuantizeLinear" => (cast::quantize, NoPlan),
        "DequantizeLinear" => (cast::dequantize, NoPlan),
        "Equal" => (text::equal, NoPlan),
        "Identity" => (movement::identity, NoPlan),
        "Shape" => (movement::shape, NoPlan),
        "Size" => (movement::size, NoPlan),
        "Reshape" => (movement::reshape, NoPlan),
        "Flatten" => (movement::flatten, NoPlan),
        "Squeeze" => (movement::squeeze, NoPlan),
        "Unsqueeze" => (movement::unsqueeze, NoPlan),
        "Concat" => (movement::concat, NoPlan),
        "Transpose" => (movement::transpose, NoPlan),
        "Slice" => (movement::slice, NoPlan),
        "Gather" => (movement::gather, NoPlan),
        "Expand" => (movement::expand, NoPlan),
        "Tile" => (movement::tile, NoPlan),
        "Split" => (movement::split, NoPlan),
        "Where" => (movement::where_op, NoPlan),
        "Pad" => (movement::pad, NoPlan),
        "ReverseSequence" => (select::reverse, NoPlan),
        _ => return None,
    };
    Some(Operator { run, when })
}

/// What a classifier with string labels ends with here: its class numbers as those strings.
pub(super) const NAME_CLASSES: &str = "nearside.NameClasses";

/// Operators with graphs inside.
pub(super) fn is_control(op_type: &str) -> bool {
    matches!(op_type, "If" | "Loop" | "Scan" | "SequenceMap")
}
