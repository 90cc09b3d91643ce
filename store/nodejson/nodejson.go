// Package nodejson writes nodes as the v2 API shows them, for the answers to reads and for events.
//
// It writes what encoding/json would write for the API's structures, with the escapes for HTML (K34); its tests compare the
// two. It exists because the loop that applies writes encodes an answer for each of them.
package nodejson

import (
	"strconv"
	"time"
	"unicode/utf8"

	"canopy/store/tree"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a quoted JSON string. Each byte that is not UTF-8 becomes \ufffd.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = AppendEscaped(dst, s)
	return append(dst, '"')
}

// AppendEscaped appends s as a JSON string without quotes.
func AppendEscaped(dst []byte, s string) []byte {
	plain := 0 // s[plain:i] needs no escape and was not appended yet
	for i := 0; i < len(s); {
		if b := s[i]; b < utf8.RuneSelf {
			if escape := escapes[b]; len(escape) > 1 {
				if plain < i {
					dst = append(dst, s[plain:i]...)
				}
				dst = append(dst, escape...)
				i++
				plain = i
			} else if i+8 <= len(s) && arePlain(s[i:i+8]) {
				i += 8
			} else {
				i++
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, s[plain:i]...), `\ufffd`...)
			plain = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(append(dst, s[plain:i]...), `\u202`...)
			dst = append(dst, hexDigits[r&0xf])
			plain = i + size
		}
		i += size
	}
	return append(dst, s[plain:]...)
}

// LongestEscape is the most bytes that AppendEscaped appends for one byte.
const LongestEscape = len(`\u0001`)

// escapes has what a JSON string has for each ASCII byte; a constant table.
var escapes = func() (escapes [utf8.RuneSelf]string) {
	for b := range escapes {
		if escapes[b] = string(rune(b)); !isPlain(byte(b)) {
			escapes[b] = escapeOf(byte(b))
		}
	}
	return escapes
}()

// EscapedLen is the number of bytes that AppendEscaped appends.
func EscapedLen(s string) int {
	length := 0
	for i := 0; i < len(s); {
		if b := s[i]; b < utf8.RuneSelf {
			if n := len(escapes[b]); n == 1 && i+8 <= len(s) && arePlain(s[i:i+8]) {
				length, i = length+8, i+8
			} else {
				length, i = length+n, i+1
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1, r == '\u2028' || r == '\u2029':
			length += LongestEscape
		default:
			length += size
		}
		i += size
	}
	return length
}

// arePlain reports whether isPlain holds for all eight bytes of s. It computes with all of them at once: a byte is not plain
// if its high bit is set, if subtracting the lowest plain byte sets that bit, or if subtracting 1 sets it after an exclusive
// or with a byte that needs an escape. A subtraction borrows from the next byte only if its own byte is not plain, so that
// the result is right anyway.
func arePlain(s string) bool {
	const each = 0x0101010101010101
	w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	found := w | (w - ' '*each) | ((w ^ '"'*each) - each) | ((w ^ '\\'*each) - each) |
		((w ^ '<'*each) - each) | ((w ^ '>'*each) - each) | ((w ^ '&'*each) - each)
	return found&(0x80*each) == 0
}

// isPlain reports whether an ASCII byte needs no escape in a JSON string that is safe inside HTML.
func isPlain(b byte) bool {
	return b >= ' ' && b != '"' && b != '\\' && b != '<' && b != '>' && b != '&'
}

// escapeOf is the escape of an ASCII byte that is not plain.
func escapeOf(b byte) string {
	switch b {
	case '"', '\\':
		return `\` + string(b)
	case '\b':
		return `\b`
	case '\f':
		return `\f`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	return `\u00` + string(hexDigits[b>>4]) + string(hexDigits[b&0xf])
}

// appendExpiry appends expiration and ttl, each after a comma (K27, K33). The ttl is the time that is left in seconds, rounded
// up; there is none if no time is left (K82, K83).
func appendExpiry(dst []byte, deadline, now tree.Time) []byte {
	dst = append(dst, `,"expiration":"`...)
	dst = time.Unix(0, int64(deadline)).UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	if deadline > now {
		left := uint64(deadline) - uint64(now) // does not overflow, even if now is far below zero
		dst = append(dst, `,"ttl":`...)
		dst = strconv.AppendUint(dst, (left+uint64(tree.Second)-1)/uint64(tree.Second), 10)
	}
	return dst
}

// AppendIndexes appends modifiedIndex and createdIndex, each after a comma. It omits those that are 0 (K28).
func AppendIndexes(dst []byte, modified, created tree.Index) []byte {
	if modified != 0 {
		dst = append(dst, `,"modifiedIndex":`...)
		dst = strconv.AppendUint(dst, uint64(modified), 10)
	}
	if created != 0 {
		dst = append(dst, `,"createdIndex":`...)
		dst = strconv.AppendUint(dst, uint64(created), 10)
	}
	return dst
}

// AppendNode appends a node without its children, as one JSON object.
func AppendNode(dst []byte, key string, n *tree.Node, c tree.Clock) []byte {
	dst = append(dst, `{"key":`...)
	dst = AppendString(dst, key)
	dst = AppendContent(dst, n, c)
	dst = AppendIndexes(dst, n.Modified(), n.Created())
	return append(dst, '}')
}

// AppendContent appends value or dir, expiration and ttl, each after a comma.
func AppendContent(dst []byte, n *tree.Node, c tree.Clock) []byte {
	if n.Dir() == nil {
		dst = append(dst, `,"value":`...)
		dst = AppendString(dst, n.Value())
	} else {
		dst = append(dst, `,"dir":true`...)
	}
	return AppendDeadline(dst, n, c)
}

// AppendDeadline appends expiration and ttl, each after a comma, if the node has a deadline.
func AppendDeadline(dst []byte, n *tree.Node, c tree.Clock) []byte {
	if n.Deadline() != 0 {
		dst = appendExpiry(dst, c.Expiration(n.Deadline()), c.Now)
	}
	return dst
}

// AppendRemoved appends the node of an event that removed n at index. It has no value and no expiration (K28, K73).
func AppendRemoved(dst []byte, key string, n *tree.Node, index tree.Index) []byte {
	dst = append(dst, `{"key":`...)
	dst = AppendString(dst, key)
	if n.Dir() != nil {
		dst = append(dst, `,"dir":true`...)
	}
	dst = AppendIndexes(dst, index, n.Created())
	return append(dst, '}')
}

// NodeLen is the number of bytes that AppendNode appends for a key of this escaped length.
func NodeLen(escapedKey int, n *tree.Node, c tree.Clock) int {
	length := len(`{"key":""}`) + escapedKey + indexesLen(n.Modified(), n.Created())
	if n.Dir() == nil {
		length += len(`,"value":""`) + EscapedLen(n.Value())
	} else {
		length += len(`,"dir":true`)
	}
	if n.Deadline() != 0 {
		var room [128]byte
		length += len(AppendDeadline(room[:0], n, c))
	}
	return length
}

// RemovedLen is the number of bytes that AppendRemoved appends for a key of this escaped length.
func RemovedLen(escapedKey int, n *tree.Node, index tree.Index) int {
	length := len(`{"key":""}`) + escapedKey + indexesLen(index, n.Created())
	if n.Dir() != nil {
		length += len(`,"dir":true`)
	}
	return length
}

// indexesLen is the number of bytes that AppendIndexes appends.
func indexesLen(modified, created tree.Index) (length int) {
	if modified != 0 {
		length += len(`,"modifiedIndex":`) + digits(modified)
	}
	if created != 0 {
		length += len(`,"createdIndex":`) + digits(created)
	}
	return length
}

func digits(n tree.Index) (count int) {
	for ; n > 0; n /= 10 {
		count++
	}
	return count
}
