// Command mutation tests the tests: it builds one deliberate fault after the
// other into the program, runs the tests that should notice, and complains
// about each fault that they do not.
//
//	go run ./internal/mutation               all faults
//	go run ./internal/mutation -sample 3     some, drawn by a seed that is printed
//	go run ./internal/mutation -run 'vote'   those whose names match
//
// A fault is a piece of source text and what to put in its place (faults.go). It
// is put there by go test's -overlay: no file is changed, and no program that is
// built in any other way can contain it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"time"
)

func main() {
	var (
		pattern = flag.String("run", "", "regular expression of the names of the faults to try")
		sample  = flag.Int("sample", 0, "how many of them, drawn at random; 0: all")
		seed    = flag.Uint64("seed", 0, "of the draw; 0: a new one")
		limit   = flag.Duration("timeout", 2*time.Minute, "for the tests of one fault; one that makes them hang is noticed, too")
	)
	flag.Parse()
	if err := run(*pattern, *sample, *seed, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

// errSurvived says that the tests are not good enough.
var errSurvived = errors.New("the tests do not notice every fault")

func run(pattern string, sample int, seed uint64, limit time.Duration) error {
	chosen, err := choose(pattern, sample, seed)
	if err != nil {
		return err
	}
	var times []time.Duration
	for _, f := range chosen {
		outcome, err := f.try(limit)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if outcome.by == "" {
			fmt.Printf("%-60s SURVIVED  %s %s\n", f.name, f.pkg, f.tests)
			continue
		}
		times = append(times, outcome.took)
		fmt.Printf("%-60s %5.1f s  %s\n", f.name, outcome.took.Seconds(), outcome.by)
	}
	slices.Sort(times)
	if len(times) > 0 {
		fmt.Printf("%d of %d noticed, the median after %.1f s\n", len(times), len(chosen), times[len(times)/2].Seconds())
	}
	if len(times) < len(chosen) {
		return errSurvived
	}
	return nil
}

// choose gives the faults to try, in the order of the table.
func choose(pattern string, sample int, seed uint64) ([]fault, error) {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	chosen := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return !wanted.MatchString(f.name) })
	if sample <= 0 || sample >= len(chosen) {
		return chosen, nil
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	fmt.Printf("seed %d\n", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	rng.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	return chosen[:sample], nil
}
