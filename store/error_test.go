package store

import (
	"errors"
	"testing"

	"canopy/store/watch"
)

// TestMessages checks the texts that clients see (E9-E26).
func TestMessages(t *testing.T) {
	for code, want := range map[Code]string{
		100: "Key not found", 101: "Compare failed", 102: "Not a file", 104: "Not a directory", 105: "Key already exists",
		107: "Root is read only", 108: "Directory not empty", 110: "The request requires user authentication",
		201: "PrevValue is Required in POST form", 202: "The given TTL in POST form is not a number",
		203: "The given index in POST form is not a number", 209: "Invalid field", 210: "Invalid POST form",
		211: "Value provided on refresh", 212: "A TTL must be provided on refresh", 300: "Raft Internal Error",
		401: "The event in requested index is outdated and cleared", 999: "Unknown error",
	} {
		if got := code.Message(); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
}

// TestErrorsSayWhatIsWrong checks the texts that people read.
func TestErrorsSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&Error{Code: CodeKeyNotFound, Cause: "/a"}, "store: 100: Key not found: /a"},
		{&Error{Code: CodeRootReadOnly}, "store: 107: Root is read only"},
		{&watch.EndedError{Next: 7, Cause: watch.ErrHistoryLost}, "store: watch ended before index 7: the history no longer reaches back to the next event"},
		{&SnapshotError{Record: 3, Reason: "content", Cause: errors.New("why")}, "store: snapshot record 3: content: why"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestActions checks the names that clients see.
func TestActions(t *testing.T) {
	names := []string{"unknown", "get", "set", "create", "update", "compareAndSwap", "delete", "compareAndDelete", "expire", "unknown"}
	for i, want := range names {
		if got := watch.Action(i).String(); got != want {
			t.Errorf("action %d is %q, want %q", i, got, want)
		}
	}
	if e := must(t, New(Options{}), file("/k", "")); e.Action() != watch.ActionSet {
		t.Errorf("a set is %v", e.Action())
	}
}
