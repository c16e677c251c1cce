//! A graph under rewriting: who produces and who reads each value, kept up to date while nodes change.

use alloc::{vec, vec::Vec};

use crate::{
    error::Result,
    graph::{Graph, Init, Node, Op, Quant, ValueId, ValueType},
    tensor::DType,
};

/// Editing access to a graph. Nodes keep their index until [`Rewrite::finish`]; those that lose their last reader disappear.
pub(super) struct Rewrite<'g> {
    graph: &'g mut Graph,
    producer: Vec<Option<usize>>,
    /// Nodes that read a value, once per operand. Not kept for constants, which may have very many readers.
    users: Vec<Vec<usize>>,
    ports: Vec<usize>,
    /// Where in the original order a node belongs.
    position: Vec<usize>,
    removed: Vec<bool>,
}

impl<'g> Rewrite<'g> {
    pub fn new(graph: &'g mut Graph) -> Self {
        let mut users = graph.consumers();
        for (list, value) in users.iter_mut().zip(&graph.values) {
            if value.init.is_some() {
                *list = Vec::new();
            }
        }
        let mut ports = vec![0; graph.values.len()];
        for port in &graph.outputs {
            ports[port.value.index()] += 1;
        }
        let (producer, nodes) = (graph.producers(), graph.nodes.len());
        Rewrite { graph, producer, users, ports, position: (0..nodes).collect(), removed: vec![false; nodes] }
    }

    pub fn graph(&self) -> &Graph {
        self.graph
    }

    /// Number of node slots; inserted nodes come last.
    pub fn len(&self) -> usize {
        self.graph.nodes.len()
    }

    /// The node, unless it was removed.
    pub fn node(&self, i: usize) -> Option<&Node> {
        (!self.removed[i]).then(|| &self.graph.nodes[i])
    }

    pub fn producer(&self, v: ValueId) -> Option<usize> {
        self.producer[v.index()]
    }

    /// The node that produces `v`.
    pub fn source(&self, v: ValueId) -> Option<&Node> {
        self.producer(v).map(|i| &self.graph.nodes[i])
    }

    pub fn users(&self, v: ValueId) -> &[usize] {
        &self.users[v.index()]
    }

    pub fn is_output(&self, v: ValueId) -> bool {
        self.ports[v.index()] > 0
    }

    /// The node that reads `v`, if it is read once and is no graph output.
    pub fn only_user(&self, v: ValueId) -> Option<usize> {
        match self.users(v) {
            [user] if !self.is_output(v) => Some(*user),
            _ => None,
        }
    }

    pub fn is_const(&self, v: ValueId) -> bool {
        self.graph.value(v).init.is_some()
    }

    pub fn is_input(&self, v: ValueId) -> bool {
        self.producer(v).is_none() && !self.is_const(v)
    }

    pub fn ty(&self, v: ValueId) -> &ValueType {
        &self.graph.value(v).ty
    }

    pub fn dtype(&self, v: ValueId) -> DType {
        self.ty(v).dtype
    }

    pub fn rank(&self, v: ValueId) -> usize {
        self.ty(v).shape.len()
    }

    pub fn quant(&self, v: ValueId) -> Option<&Quant> {
        self.ty(v).quant.as_ref()
    }

    /// The value's name, or its producer's when it has none.
    pub fn name(&self, v: ValueId) -> &str {
        let name = self.graph.value(v).name.as_str();
        if name.is_empty() { self.source(v).map_or("", |n| n.name.as_str()) } else { name }
    }

    pub fn set_init(&mut self, v: ValueId, init: Init) {
        self.graph.value_mut(v).init = Some(init);
    }

    /// Adds whatever values `add` adds to the graph; it must not add nodes.
    pub fn add_values<T>(&mut self, add: impl FnOnce(&mut Graph) -> T) -> T {
        let out = add(self.graph);
        self.grow();
        out
    }

    fn grow(&mut self) {
        self.producer.resize(self.graph.values.len(), None);
        self.users.resize(self.graph.values.len(), Vec::new());
        self.ports.resize(self.graph.values.len(), 0);
    }

    /// Adds a node beside node `at`; returns its result, of type `ty`.
    pub fn insert(&mut self, at: usize, name: &str, op: Op, inputs: &[ValueId], ty: ValueType) -> ValueId {
        let output = self.add_values(|g| g.add_value(name, ty));
        self.insert_into(at, name, op, inputs, output);
        output
    }

    /// Adds a node beside node `at` that produces `output`, which has no producer so far.
    pub fn insert_into(&mut self, at: usize, name: &str, op: Op, inputs: &[ValueId], output: ValueId) {
        let index = self.graph.nodes.len();
        self.graph.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec(), outputs: vec![output] });
        self.position.push(self.position[at]);
        self.removed.push(false);
        self.producer[output.index()] = Some(index);
        for v in inputs {
            self.use_value(*v, index);
        }
    }

    /// Gives output `k` of a node a new value of type `ty`; returns the old one, which then has no producer, and the new one.
    pub fn detach_output(&mut self, node: usize, k: usize, ty: ValueType) -> (ValueId, ValueId) {
        let old = self.graph.nodes[node].outputs[k];
        let name = self.graph.value(old).name.clone();
        let new = self.add_values(|g| g.add_value(name, ty));
        self.graph.nodes[node].outputs[k] = new;
        self.producer[old.index()] = None;
        self.producer[new.index()] = Some(node);
        (old, new)
    }

    /// Makes node `i` another operator on other inputs, with the same outputs.
    pub fn update(&mut self, i: usize, op: Op, inputs: Vec<ValueId>) {
        for v in &inputs {
            self.use_value(*v, i);
        }
        self.graph.nodes[i].op = op;
        let dropped = core::mem::replace(&mut self.graph.nodes[i].inputs, inputs);
        self.unuse(i, &dropped);
    }

    /// Makes node `i` produce the only output of node `from`, which disappears; nobody may read `i`'s own output after that.
    pub fn take_output(&mut self, i: usize, from: usize) {
        let output = self.graph.nodes[from].outputs[0];
        let old = core::mem::replace(&mut self.graph.nodes[i].outputs[0], output);
        self.producer[old.index()] = None;
        self.producer[output.index()] = Some(i);
        self.remove(from);
    }

    /// Makes every reader of `from`, graph outputs included, read `to`.
    pub fn redirect(&mut self, from: ValueId, to: ValueId) {
        let users = core::mem::take(&mut self.users[from.index()]);
        for &user in &users {
            for v in &mut self.graph.nodes[user].inputs {
                if *v == from {
                    *v = to;
                }
            }
            self.use_value(to, user);
        }
        if self.is_output(from) {
            for port in self.graph.outputs.iter_mut().filter(|p| p.value == from) {
                port.value = to;
            }
            self.ports[to.index()] += core::mem::take(&mut self.ports[from.index()]);
        }
        self.prune(vec![from]);
    }

    /// Removes node `i`, whose outputs nobody reads any more.
    pub fn remove(&mut self, i: usize) {
        if core::mem::replace(&mut self.removed[i], true) {
            return;
        }
        let inputs = self.graph.nodes[i].inputs.clone();
        self.unuse(i, &inputs);
    }

    fn use_value(&mut self, v: ValueId, node: usize) {
        if !self.is_const(v) {
            self.users[v.index()].push(node);
        }
    }

    fn unuse(&mut self, node: usize, values: &[ValueId]) {
        for v in values {
            let users = &mut self.users[v.index()];
            if let Some(at) = users.iter().position(|u| *u == node) {
                users.swap_remove(at);
            }
        }
        self.prune(values.to_vec());
    }

    /// Removes the producers of those of `values` that nobody reads, and so on upwards.
    fn prune(&mut self, mut values: Vec<ValueId>) {
        while let Some(v) = values.pop() {
            let Some(i) = self.producer(v) else { continue };
            let node = &self.graph.nodes[i];
            let dead = |o: &ValueId| self.users[o.index()].is_empty() && self.ports[o.index()] == 0;
            if self.removed[i] || !node.outputs.iter().all(dead) {
                continue;
            }
            self.removed[i] = true;
            for input in node.inputs.clone() {
                let users = &mut self.users[input.index()];
                if let Some(at) = users.iter().position(|u| *u == i) {
                    users.swap_remove(at);
                }
                values.push(input);
            }
        }
    }

    /// Puts the graph in order again.
    pub fn finish(self) -> Result<()> {
        let mut order: Vec<usize> = (0..self.len()).filter(|&i| !self.removed[i]).collect();
        order.sort_by_key(|&i| (self.position[i], i));
        let mut nodes: Vec<Option<Node>> = core::mem::take(&mut self.graph.nodes).into_iter().map(Some).collect();
        self.graph.nodes = order.into_iter().filter_map(|i| nodes[i].take()).collect();
        self.graph.sort()?;
        self.graph.remove_dead();
        Ok(())
    }
}
