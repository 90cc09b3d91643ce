package raft

import "strconv"

// assert stops the member when the machine, or its owner, broke a promise: to go on could lose data. It never depends
// on what another member says; that is refused by Step. The facts are numbers, so that a kept promise costs no allocation.
func assert[T ~uint64](ok bool, promise string, facts ...T) {
	if ok {
		return
	}
	what := "raft: broken promise: " + promise + ":"
	for _, f := range facts {
		what += " " + strconv.FormatUint(uint64(f), 10)
	}
	panic(what)
}
