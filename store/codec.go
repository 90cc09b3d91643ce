package store

import (
	"bytes"
	"errors"
	"fmt"

	"canopy/store/storepb"
)

// EncodeCommand appends the log form of c to dst. It refuses what DecodeCommand would refuse. If the key would be so deep that
// no other command could name it, the error is ErrTooDeep.
func EncodeCommand(dst []byte, c Command) ([]byte, error) {
	var m storepb.Command
	switch c := c.(type) {
	case Set:
		m.Kind, m.Key, m.Value, m.Dir, m.Refresh = storepb.Command_SET, []byte(c.Key.clean), []byte(c.Value), c.Dir, c.Refresh
		m.TtlSet, m.TtlSeconds = c.TTL.Set, c.TTL.Seconds
	case Create:
		m.Kind, m.Key, m.Value, m.Dir = storepb.Command_CREATE, []byte(c.Key.clean), []byte(c.Value), c.Dir
		m.TtlSet, m.TtlSeconds = c.TTL.Set, c.TTL.Seconds
	case CreateInOrder:
		m.Kind, m.Key, m.Value, m.Dir = storepb.Command_CREATE_IN_ORDER, []byte(c.Dir.clean), []byte(c.Value), c.AsDir
		m.TtlSet, m.TtlSeconds = c.TTL.Set, c.TTL.Seconds
	case Update:
		m.Kind, m.Key, m.Value, m.Refresh = storepb.Command_UPDATE, []byte(c.Key.clean), []byte(c.Value), c.Refresh
		m.TtlSet, m.TtlSeconds = c.TTL.Set, c.TTL.Seconds
	case CompareAndSwap:
		m.Kind, m.Key, m.Value, m.Refresh = storepb.Command_COMPARE_AND_SWAP, []byte(c.Key.clean), []byte(c.Value), c.Refresh
		m.TtlSet, m.TtlSeconds = c.TTL.Set, c.TTL.Seconds
		m.PrevValue, m.PrevIndex = []byte(c.PrevValue), uint64(c.PrevIndex)
	case Delete:
		m.Kind, m.Key, m.Dir, m.Recursive = storepb.Command_DELETE, []byte(c.Key.clean), c.Dir, c.Recursive
	case CompareAndDelete:
		m.Kind, m.Key = storepb.Command_COMPARE_AND_DELETE, []byte(c.Key.clean)
		m.PrevValue, m.PrevIndex = []byte(c.PrevValue), uint64(c.PrevIndex)
	default:
		return dst, fmt.Errorf("store: encode command: no such command %T", c)
	}
	depth := bytes.Count(m.Key, []byte{'/'})
	if m.Kind == storepb.Command_CREATE_IN_ORDER {
		depth++
	}
	if depth > MaxDepth {
		return dst, fmt.Errorf("store: encode command: %w", ErrTooDeep)
	}
	start, size := len(dst), m.SizeVT()
	dst = append(dst, make([]byte, size)...)
	if _, err := m.MarshalToSizedBufferVT(dst[start:]); err != nil {
		return dst[:start], fmt.Errorf("store: encode command: %w", err)
	}
	return dst, nil
}

// DecodeCommand reads what EncodeCommand of this version or an older one wrote; older ones accepted a POST into a directory
// of MaxDepth. The command keeps nothing of b. DecodeCommand refuses keys that are not clean, so that each Key is valid
// whatever the log has, and commands that only a newer version knows.
func DecodeCommand(b []byte) (Command, error) {
	var m storepb.Command
	if err := m.UnmarshalVTUnsafe(b); err != nil { // the command gets copies
		return nil, fmt.Errorf("store: decode command: %w", err)
	}
	key, err := ParseKey(string(m.Key))
	if err != nil {
		return nil, fmt.Errorf("store: decode command: %w", err)
	}
	switch {
	case len(key.clean) != len(m.Key):
		return nil, errors.New("store: decode command: the key is not clean")
	case key.Depth() > MaxDepth:
		return nil, fmt.Errorf("store: decode command: %w", ErrTooDeep)
	}
	value, ttl := string(m.Value), TTL{Set: m.TtlSet, Seconds: m.TtlSeconds}
	switch m.Kind {
	case storepb.Command_SET:
		return Set{Key: key, Value: value, Dir: m.Dir, TTL: ttl, Refresh: m.Refresh}, nil
	case storepb.Command_CREATE:
		return Create{Key: key, Value: value, Dir: m.Dir, TTL: ttl}, nil
	case storepb.Command_CREATE_IN_ORDER:
		return CreateInOrder{Dir: key, Value: value, AsDir: m.Dir, TTL: ttl}, nil
	case storepb.Command_UPDATE:
		return Update{Key: key, Value: value, TTL: ttl, Refresh: m.Refresh}, nil
	case storepb.Command_COMPARE_AND_SWAP:
		return CompareAndSwap{Key: key, Value: value, TTL: ttl, Refresh: m.Refresh,
			PrevValue: string(m.PrevValue), PrevIndex: Index(m.PrevIndex)}, nil
	case storepb.Command_DELETE:
		return Delete{Key: key, Dir: m.Dir, Recursive: m.Recursive}, nil
	case storepb.Command_COMPARE_AND_DELETE:
		return CompareAndDelete{Key: key, PrevValue: string(m.PrevValue), PrevIndex: Index(m.PrevIndex)}, nil
	}
	return nil, fmt.Errorf("store: decode command: kind %d is unknown to this version", m.Kind)
}
