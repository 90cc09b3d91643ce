//go:build !race

package etcdserver

// raceEnabled says that goroutines are shuffled on purpose.
const raceEnabled = false
