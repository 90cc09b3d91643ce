package store

import (
	"errors"
	"math"
	"testing"

	"canopy/store/storepb"
)

var someCommands = []Command{
	Set{Key: mustKey("/a\xff/b"), Value: "v\x00", Dir: true, TTL: TTL{Set: true, Seconds: math.MaxUint64}, Refresh: true},
	Set{}, Set{Key: mustKey("/a"), TTL: TTL{Set: true}},
	Create{Key: mustKey("/a"), Value: "v", Dir: true, TTL: TTL{Set: true, Seconds: 1}},
	CreateInOrder{Value: "v", AsDir: true, TTL: TTL{Set: true, Seconds: 1}},
	Update{Key: mustKey("/a"), Value: "v", TTL: TTL{Set: true, Seconds: 1}, Refresh: true},
	CompareAndSwap{Key: mustKey("/a"), Value: "v", TTL: TTL{Set: true, Seconds: 1}, Refresh: true, PrevValue: "\xfe", PrevIndex: math.MaxUint64},
	Delete{Key: mustKey("/a"), Dir: true, Recursive: true},
	CompareAndDelete{Key: mustKey("/a"), PrevValue: "p", PrevIndex: 7},
}

func TestCommandsSurviveTheLog(t *testing.T) {
	prefix := []byte("before")
	for _, c := range someCommands {
		b, err := EncodeCommand(prefix, c)
		if err != nil || string(b[:len(prefix)]) != "before" {
			t.Fatalf("%#v: %q, %v", c, b, err)
		}
		got, err := DecodeCommand(b[len(prefix):])
		if err != nil || got != c {
			t.Errorf("%#v came back as %#v, %v", c, got, err)
		}
	}
	if b, err := EncodeCommand(prefix, nil); err == nil || string(b) != "before" {
		t.Errorf("no command: %q, %v", b, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, m := range map[string]*storepb.Command{
		"no kind":        {Key: []byte("/a")},
		"a newer kind":   {Kind: 99, Key: []byte("/a")},
		"an unclean key": {Kind: storepb.Command_SET, Key: []byte("/a/../b")},
		"a bare slash":   {Kind: storepb.Command_SET, Key: []byte("/")},
		"a key above":    {Kind: storepb.Command_SET, Key: []byte("/..")},
	} {
		b, err := m.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		if c, err := DecodeCommand(b); err == nil {
			t.Errorf("%s: %#v", name, c)
		}
	}
	if c, err := DecodeCommand([]byte{0xff}); err == nil {
		t.Errorf("garbage: %#v", c)
	}
}

// FuzzDecodeCommand checks that whatever is accepted can be applied and is encoded to the same command.
func FuzzDecodeCommand(f *testing.F) {
	for _, c := range someCommands {
		b, err := EncodeCommand(nil, c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		if err != nil {
			return
		}
		again, err := EncodeCommand(nil, c)
		if errors.Is(err, ErrTooDeep) {
			return // of an older version
		}
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeCommand(again); err != nil || back != c {
			t.Fatalf("%#v became %#v, %v", c, back, err)
		}
		s := prepared(t)
		_, _ = s.Apply(testTime, c)
		publish(s)
		checkInvariants(t, s)
	})
}
