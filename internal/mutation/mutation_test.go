package main

import (
	"go/parser"
	"go/token"
	"testing"
)

// The table keeps up with the code: each fault has its place, and is Go.
func TestEveryFaultHasItsPlace(t *testing.T) {
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range faults {
		if names[f.name] {
			t.Errorf("two faults are called %q", f.name)
		}
		names[f.name] = true
		text, err := f.mutated(dir)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), f.file, text, 0); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	if len(faults) < 25 {
		t.Errorf("%d faults are few", len(faults))
	}
}
