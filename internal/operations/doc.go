// Package operations is the table: every operation of Glassbox, defined once.
//
// Each file holds the operations on one noun: node, sandbox, process, event,
// and the cluster as a whole. [All] lists them. Package op is the mechanism;
// package internal/node wires the dependencies.
//
// To add an operation, write its parameters and its result as structs with
// tags, define it in the file of its noun with examples, and add it to All. The
// golden file testdata/operations.golden, regenerated with -update, shows what
// changed for clients.
package operations
