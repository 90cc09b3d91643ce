// Package assert checks the promises that a member makes to itself.
package assert

import (
	"strconv"
)

// That stops the member when the machine, or its owner, broke a promise: to go on could lose data. ok never depends on what
// another member says; Step refuses that. The facts are numbers, so that a kept promise costs no allocation.
func That[T ~uint64](ok bool, promise string, facts ...T) {
	if ok {
		return
	}
	what := "raft: broken promise: " + promise + ":"
	for _, f := range facts {
		what += " " + strconv.FormatUint(uint64(f), 10)
	}
	panic(what)
}
