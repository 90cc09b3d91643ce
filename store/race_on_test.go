//go:build race

package store

// raceEnabled makes long tests do less, as each step takes ten times as long.
const raceEnabled = true
