package raft

import "fmt"

// assert stops the member when the machine, or its owner, broke a promise: to go on could lose data. It never depends
// on what another member says; that is refused by Step.
func assert(ok bool, format string, facts ...any) {
	if !ok {
		panic("raft: broken invariant: " + fmt.Sprintf(format, facts...))
	}
}
