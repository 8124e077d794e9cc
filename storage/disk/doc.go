// Package disk is a datastore in a directory, as a chat's history wants it: pebble (an
// LSM tree) with sizes for a program that is idle most of the day, and compression for
// events that repeat most of their headers.
//
// It does two things more than pebble behind the go-datastore interface. It refuses to
// write while the disk is nearly full, because pebble must end the process where a write
// to its log fails. And damage is an error that names the directory, where pebble would
// panic.
//
// Writes are durable after Sync: a batch and a Sync are what an acknowledged message
// needs, and concurrent Syncs share one fsync.
//
// Package storage knows the interface only; programs choose this driver, or another.
package disk
