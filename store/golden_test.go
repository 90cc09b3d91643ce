package store

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew; only before a format has been released")

// golden returns the bytes of a frozen format.
func golden(t *testing.T, file string, now []byte) []byte {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVersion1SnapshotIsRead checks that old snapshots can be read, and that all versions save a state as the same bytes.
func TestVersion1SnapshotIsRead(t *testing.T) {
	now := save(t, sample(t))
	frozen := golden(t, "testdata/version-1.snapshot", now)
	s, err := Load(bytes.NewReader(frozen), Options{HistoryEvents: 6})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := treeOf(t, s), treeOf(t, sample(t)); got != want {
		t.Errorf("tree = %s, want %s", got, want)
	}
	if !bytes.Equal(now, frozen) {
		t.Error("the same store is saved in other bytes than before")
	}
}

// TestVersion1CommandsAreRead checks that old logs can be read.
func TestVersion1CommandsAreRead(t *testing.T) {
	var encoded [][]byte
	for _, c := range someCommands {
		b, err := EncodeCommand(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		encoded = append(encoded, b)
	}
	frozen := records(t, golden(t, "testdata/version-1.commands", joined(encoded)))
	if len(frozen) != len(someCommands) {
		t.Fatalf("%d commands, want %d", len(frozen), len(someCommands))
	}
	for i, b := range frozen {
		if c, err := DecodeCommand(b); err != nil || c != someCommands[i] {
			t.Errorf("%#v, %v, want %#v", c, err, someCommands[i])
		}
	}
}
