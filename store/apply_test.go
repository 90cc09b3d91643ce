package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"canopy/store/watch"
)

const testTime Time = 1_700_000_000_000_000_000

// try applies a command, and returns the JSON of its event without the newline, or "code cause".
func try(s *Store, t Time, c Command) string {
	e, err := s.Apply(t, c)
	var refused *Error
	if errors.As(err, &refused) {
		return strings.TrimSpace(fmt.Sprintf("%d %s", refused.Code, refused.Cause))
	}
	return strings.TrimSuffix(string(e.JSON()), "\n")
}

// must applies commands that succeed, and publishes.
func must(t testing.TB, s *Store, commands ...Command) (last *watch.Event) {
	t.Helper()
	for _, c := range commands {
		e, err := s.Apply(testTime, c)
		if err != nil {
			t.Fatalf("%#v: %v", c, err)
		}
		last = e
	}
	publish(s)
	return last
}

func file(key, value string) Command { return Set{Key: mustKey(key), Value: value} }
func dir(key string) Command         { return Set{Key: mustKey(key), Dir: true} }
func rmdir(key string) Command       { return Delete{Key: mustKey(key), Recursive: true} }

// prepared has a file /f (index 1, value V), an empty directory /e (2), and a directory /d (3) with a child.
func prepared(t testing.TB) *Store {
	t.Helper()
	s := New(Options{})
	must(t, s, file("/f", "V"), dir("/e"), dir("/d"), file("/d/c", "C"))
	return s
}

// TestEveryCellOfTheTargetTable checks K51, and that a failure does not change the index (K47).
func TestEveryCellOfTheTargetTable(t *testing.T) {
	targets := []string{"/m", "/f", "/e", "/d", "/f/x", "/"}
	rows := []struct {
		name    string
		command func(Key) Command
		want    [6]string // action, or code and cause, by target
	}{
		{"set", func(k Key) Command { return Set{Key: k, Value: "n"} },
			[6]string{"set", "set", "102 /e", "102 /d", "104 /f", "107 /"}},
		{"set dir", func(k Key) Command { return Set{Key: k, Dir: true} },
			[6]string{"set", "set", "102 /e", "102 /d", "104 /f", "107 /"}},
		{"create", func(k Key) Command { return Create{Key: k, Value: "n"} },
			[6]string{"create", "105 /f", "105 /e", "105 /d", "104 /f", "107 /"}},
		{"create dir", func(k Key) Command { return Create{Key: k, Dir: true} },
			[6]string{"create", "105 /f", "105 /e", "105 /d", "104 /f", "107 /"}},
		{"update with value", func(k Key) Command { return Update{Key: k, Value: "n"} },
			[6]string{"100 /m", "update", "102 /e", "102 /d", "104 /f", "107 /"}},
		{"update without value", func(k Key) Command { return Update{Key: k} },
			[6]string{"100 /m", "update", "update", "update", "104 /f", "107 /"}},
		{"swap by value", func(k Key) Command { return CompareAndSwap{Key: k, PrevValue: "V"} },
			[6]string{"100 /m", "compareAndSwap", "102 /e", "102 /d", "104 /f", "107 /"}},
		{"swap that fails", func(k Key) Command { return CompareAndSwap{Key: k, PrevValue: "X"} },
			[6]string{"100 /m", "101 [X != V]", "102 /e", "102 /d", "104 /f", "107 /"}},
		{"delete", func(k Key) Command { return Delete{Key: k} },
			[6]string{"100 /m", "delete", "102 /e", "102 /d", "104 /f", "107 /"}},
		{"delete dir", func(k Key) Command { return Delete{Key: k, Dir: true} },
			[6]string{"100 /m", "delete", "delete", "108 /d", "104 /f", "107 /"}},
		{"delete recursive", func(k Key) Command { return Delete{Key: k, Recursive: true} },
			[6]string{"100 /m", "delete", "delete", "delete", "104 /f", "107 /"}},
		{"compare and delete", func(k Key) Command { return CompareAndDelete{Key: k, PrevIndex: 1} },
			[6]string{"100 /m", "compareAndDelete", "102 /e", "102 /d", "104 /f", "107 /"}}, // K72: not 102 for the root
		{"compare and delete that fails", func(k Key) Command { return CompareAndDelete{Key: k, PrevIndex: 9} },
			[6]string{"100 /m", "101 [9 != 1]", "102 /e", "102 /d", "104 /f", "107 /"}},
		{"refresh", func(k Key) Command { return Set{Key: k, Refresh: true, TTL: TTL{true, 9}} }, // K67, K70
			[6]string{"100 /m", "set", "102 /e", "102 /d", "104 /f", "107 /"}},
		{"refresh by update", func(k Key) Command { return Update{Key: k, Refresh: true, TTL: TTL{true, 9}} },
			[6]string{"100 /m", "update", "update", "update", "104 /f", "107 /"}},
		{"post", func(k Key) Command { return CreateInOrder{Dir: k} }, // K56
			[6]string{"create", "104 /f", "create", "create", "104 /f", "create"}},
	}
	for _, row := range rows {
		for i, target := range targets {
			s := prepared(t)
			before := treeOf(t, s)
			got := try(s, testTime, row.command(mustKey(target)))
			failed := got[0] != '{'
			if !failed {
				got = got[len(`{"action":"`):strings.Index(got, `","node"`)]
			}
			if got != row.want[i] {
				t.Errorf("%s of %s = %s, want %s", row.name, target, got, row.want[i])
			}
			publish(s)
			if v := s.View(); failed && (v.Index() != 4 || treeOf(t, s) != before) || !failed && v.Index() != 5 {
				t.Errorf("%s of %s: index %d afterwards", row.name, target, v.Index())
			}
		}
	}
}

// TestAnswers compares answers with those of the specification, byte by byte.
func TestAnswers(t *testing.T) {
	const day = `"expiration":"2023-11-15T22:13:20Z","ttl":86400,`
	ttl := TTL{Set: true, Seconds: 86400}
	for _, c := range []struct {
		name    string
		command Command
		want    string
	}{
		{"K48 K53 set makes both indexes new", file("/f", "W"),
			`{"action":"set","node":{"key":"/f","value":"W","modifiedIndex":5,"createdIndex":5},"prevNode":{"key":"/f","value":"V","modifiedIndex":1,"createdIndex":1}}`},
		{"K54 a directory replaces a file", dir("/f"),
			`{"action":"set","node":{"key":"/f","dir":true,"modifiedIndex":5,"createdIndex":5},"prevNode":{"key":"/f","value":"V","modifiedIndex":1,"createdIndex":1}}`},
		{"K57 update without value empties", Update{Key: mustKey("/f")},
			`{"action":"update","node":{"key":"/f","value":"","modifiedIndex":5,"createdIndex":1},"prevNode":{"key":"/f","value":"V","modifiedIndex":1,"createdIndex":1}}`},
		{"K58 K62 update of a directory", Update{Key: mustKey("/d"), TTL: ttl},
			`{"action":"update","node":{"key":"/d","dir":true,` + day + `"modifiedIndex":5,"createdIndex":3},"prevNode":{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":3}}`},
		{"K68 a plain refresh is a set", Set{Key: mustKey("/f"), Refresh: true, TTL: ttl},
			`{"action":"set","node":{"key":"/f","value":"V",` + day + `"modifiedIndex":5,"createdIndex":5},"prevNode":{"key":"/f","value":"V","modifiedIndex":1,"createdIndex":1}}`},
		{"K67 refresh by update keeps value and createdIndex", Update{Key: mustKey("/f"), Refresh: true, TTL: ttl},
			`{"action":"update","node":{"key":"/f","value":"V",` + day + `"modifiedIndex":5,"createdIndex":1},"prevNode":{"key":"/f","value":"V","modifiedIndex":1,"createdIndex":1}}`},
		{"K64 swap", CompareAndSwap{Key: mustKey("/f"), Value: "W", PrevValue: "V", PrevIndex: 1},
			`{"action":"compareAndSwap","node":{"key":"/f","value":"W","modifiedIndex":5,"createdIndex":1},"prevNode":{"key":"/f","value":"V","modifiedIndex":1,"createdIndex":1}}`},
		{"K73 recursive delete", rmdir("/d"),
			`{"action":"delete","node":{"key":"/d","dir":true,"modifiedIndex":5,"createdIndex":3},"prevNode":{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":3}}`},
		{"K73 compareAndDelete", CompareAndDelete{Key: mustKey("/f"), PrevValue: "V"},
			`{"action":"compareAndDelete","node":{"key":"/f","modifiedIndex":5,"createdIndex":1},"prevNode":{"key":"/f","value":"V","modifiedIndex":1,"createdIndex":1}}`},
		{"K56 post", CreateInOrder{Dir: mustKey("/q"), Value: "1"},
			`{"action":"create","node":{"key":"/q/00000000000000000005","value":"1","modifiedIndex":5,"createdIndex":5}}`},
		{"K81 a ttl of 0 shows no ttl", Set{Key: mustKey("/t"), TTL: TTL{Set: true}},
			`{"action":"set","node":{"key":"/t","value":"","expiration":"2023-11-14T22:13:20Z","modifiedIndex":5,"createdIndex":5}}`},
		{"K34 escapes", file("/a<&>\"\\", "\x00\n\u2028\xff"),
			`{"action":"set","node":{"key":"/a\u003c\u0026\u003e\"\\","value":"\u0000\n\u2028\ufffd","modifiedIndex":5,"createdIndex":5}}`},
		{"K65 both", CompareAndSwap{Key: mustKey("/f"), PrevValue: "X", PrevIndex: 106}, "101 [X != V] [106 != 1]"},
		{"K65 value only", CompareAndSwap{Key: mustKey("/f"), PrevValue: "X", PrevIndex: 1}, "101 [X != V]"},
		{"K65 index only", CompareAndSwap{Key: mustKey("/f"), PrevValue: "V", PrevIndex: 98}, "101 [98 != 1]"},
		{"K40 the first missing component", Delete{Key: mustKey("/nope/a/b")}, "100 /nope"},
		{"K41 the file in the way", Delete{Key: mustKey("/f/a/b")}, "104 /f"},
		{"K71 create ignores nothing it could lose", Create{Key: mustKey("/f")}, "105 /f"},
		{"R47 the largest index", CompareAndSwap{Key: mustKey("/f"), PrevIndex: 1<<64 - 1}, "101 [18446744073709551615 != 1]"},
		{"R48 neighbours with a common beginning", Delete{Key: mustKey("/ff")}, "100 /ff"},
	} {
		if got := try(prepared(t), testTime, c.command); got != c.want {
			t.Errorf("%s:\n   %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestImplicitDirectories checks K52 and that a directory's index does not follow its children (K48).
func TestImplicitDirectories(t *testing.T) {
	s := New(Options{})
	must(t, s, Set{Key: mustKey("/a/b/k"), Value: "1", TTL: TTL{Set: true, Seconds: 5}})
	must(t, s, file("/a/b/l", "2"), Delete{Key: mustKey("/a/b/k")}, Delete{Key: mustKey("/a/b/l")})
	want := `{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","dir":true,"nodes":[{"key":"/a/b","dir":true,"modifiedIndex":1,"createdIndex":1}],"modifiedIndex":1,"createdIndex":1}]}}` + "\n"
	if got := treeOf(t, s); got != want {
		t.Errorf("tree = %s, want %s", got, want)
	}
}

// TestUpdatedDirectoryKeepsItsStoredIndex checks K62 and R50: a directory's TTL set, changed, refreshed and removed.
func TestUpdatedDirectoryKeepsItsStoredIndex(t *testing.T) {
	s := New(Options{})
	k := mustKey("/d")
	must(t, s, dir("/d"), file("/d/k", "1"),
		Update{Key: k, TTL: TTL{Set: true, Seconds: 5}}, Update{Key: k, TTL: TTL{Set: true, Seconds: 500}, Refresh: true})
	if at, ok := s.NextDeadline(); !ok || at != testTime+500*Time(Second) {
		t.Errorf("deadline %d %v after a refresh", at, ok)
	}
	e := must(t, s, Update{Key: k})
	if e.Index() != 5 || !strings.Contains(string(e.JSON()), `"prevNode":{"key":"/d","dir":true,"expiration":"2023-11-14T22:21:40Z","ttl":500,"modifiedIndex":1,`) {
		t.Errorf("update = %s", e.JSON())
	}
	if _, ok := s.NextDeadline(); ok {
		t.Error("a permanent directory has a deadline")
	}
	want := `{"action":"get","node":{"key":"/d","dir":true,"nodes":[{"key":"/d/k","value":"1","modifiedIndex":2,"createdIndex":2}],"modifiedIndex":1,"createdIndex":1}}` + "\n"
	if l, err := s.View().Get(k, ReadOptions{}); err != nil || string(l.AppendJSON(nil)) != want {
		t.Errorf("get = %s, %v", l.AppendJSON(nil), err)
	}
}

// TestInOrderNamesPassPlantedOnes checks K56 and R56: the child gets the next free number, until there is none.
func TestInOrderNamesPassPlantedOnes(t *testing.T) {
	s := New(Options{})
	must(t, s, file("/q/00000000000000000003", "planted"), file("/q/00000000000000000004", "planted"))
	for _, want := range []string{"/q/00000000000000000005", "/q/00000000000000000006"} {
		// The indexes are 3 and 4, and the numbers 4 and 5 are not free for the second.
		if e := must(t, s, CreateInOrder{Dir: mustKey("/q")}); e.Key() != want {
			t.Errorf("key %s, want %s", e.Key(), want)
		}
	}
	s.index = 1<<64 - 3
	must(t, s, file("/q/18446744073709551615", "planted"))
	if got := try(s, testTime, CreateInOrder{Dir: mustKey("/q")}); got != "105 /q/18446744073709551615" {
		t.Errorf("past the last number: %s", got)
	}
}

// TestPreviousValuesAreComparedByByte checks K129 and K130, through a snapshot.
func TestPreviousValuesAreComparedByByte(t *testing.T) {
	s := New(Options{})
	must(t, s, file("/b\xff", "\xff\xfe"))
	s = reloaded(t, s)
	if got := try(s, testTime, CompareAndSwap{Key: mustKey("/b\xff"), PrevValue: "\ufffd\ufffd"}); got != "101 [\ufffd\ufffd != \xff\xfe]" {
		t.Errorf("replacement characters: %s", got)
	}
	if got := try(s, testTime, CompareAndSwap{Key: mustKey("/b\xff"), PrevValue: "\xff\xfe"}); got[0] != '{' {
		t.Errorf("the bytes themselves: %s", got)
	}
}

// TestStatsCountOutcomes checks S12 and S13a for commands that the reference counts wrongly.
func TestStatsCountOutcomes(t *testing.T) {
	s := prepared(t)
	for _, c := range []Command{
		CompareAndDelete{Key: mustKey("/f"), PrevValue: "X"}, Delete{Key: Key{}}, CompareAndSwap{Key: Key{}, PrevIndex: 1},
		Update{Key: Key{}}, Update{Key: mustKey("/d"), Value: "v"},
	} {
		if got := try(s, testTime, c); got[0] == '{' {
			t.Errorf("%#v succeeded", c)
		}
	}
	s.CountGet(true)
	s.CountGet(false)
	publish(s)
	want := Stats{SetsSuccess: 4, CompareAndDeleteFail: 1, DeleteFail: 1, CompareAndSwapFail: 1, UpdateFail: 2, GetsSuccess: 1, GetsFail: 1}
	if got := s.Stats(); got != want {
		t.Errorf("stats = %+v, want %+v", got, want)
	}
}

// reloaded is the store after a save and a load.
func reloaded(t testing.TB, s *Store) *Store {
	t.Helper()
	copied, err := Load(strings.NewReader(string(save(t, s))), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return copied
}
