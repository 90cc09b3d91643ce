package store

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// The encoders here write what encoding/json would write for the API's structures, HTML escaping included (K34), and
// are tested against it. They exist because an answer is encoded for every write, in the loop that applies them.

const hexDigits = "0123456789abcdef"

// appendString appends s as a quoted JSON string. Bytes that are not UTF-8 become \ufffd, each.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

// appendEscaped appends s as it stands between the quotes of a JSON string.
func appendEscaped(dst []byte, s string) []byte {
	plain := 0 // s[plain:i] needs no escape and is not appended yet
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

// longestEscape is how many bytes one byte takes at most.
const longestEscape = len(`\u0001`)

// escapes are how ASCII bytes stand in a JSON string; a constant table.
var escapes = func() (escapes [utf8.RuneSelf]string) {
	for b := range escapes {
		if escapes[b] = string(rune(b)); !isPlain(byte(b)) {
			escapes[b] = escapeOf(byte(b))
		}
	}
	return escapes
}()

// escapedLen is how many bytes appendEscaped appends.
func escapedLen(s string) int {
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
			length += longestEscape
		default:
			length += size
		}
		i += size
	}
	return length
}

// arePlain is isPlain for the eight bytes of s at once: none has its high bit, or gets it by taking off what the lowest
// plain byte is, or, after a comparison by exclusive or, by taking off one. What is borrowed by one byte from the next
// comes of a byte that is not plain.
func arePlain(s string) bool {
	const each = 0x0101010101010101
	w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	found := w | (w - ' '*each) | ((w ^ '"'*each) - each) | ((w ^ '\\'*each) - each) |
		((w ^ '<'*each) - each) | ((w ^ '>'*each) - each) | ((w ^ '&'*each) - each)
	return found&(0x80*each) == 0
}

// isPlain reports whether an ASCII byte stands for itself in a JSON string that is safe inside HTML.
func isPlain(b byte) bool {
	return b >= ' ' && b != '"' && b != '\\' && b != '<' && b != '>' && b != '&'
}

// escapeOf is how an ASCII byte that is not plain stands in a JSON string.
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

// appendExpiry appends expiration and ttl of a node whose deadline is not 0, both with a comma before (K27, K33). The
// ttl counts whole seconds up from now, and is left out when nothing is left (K82, K83).
func appendExpiry(dst []byte, deadline, now Time) []byte {
	dst = append(dst, `,"expiration":"`...)
	dst = time.Unix(0, int64(deadline)).UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	if deadline > now {
		left := uint64(deadline) - uint64(now) // cannot overflow, even when now is far below zero
		dst = append(dst, `,"ttl":`...)
		dst = strconv.AppendUint(dst, (left+uint64(Second)-1)/uint64(Second), 10)
	}
	return dst
}

// appendIndexes appends modifiedIndex and createdIndex, each with a comma before, and left out when 0 (K28).
func appendIndexes(dst []byte, modified, created Index) []byte {
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

// appendNode appends a node without children as one JSON object, as of now and with deadlines shifted (see Shift).
func appendNode(dst []byte, key string, n *node, c clock) []byte {
	dst = append(dst, `{"key":`...)
	dst = appendString(dst, key)
	dst = appendContent(dst, n, c)
	dst = appendIndexes(dst, n.modified, n.created)
	return append(dst, '}')
}

// appendContent appends value or dir, expiration and ttl, each with a comma before.
func appendContent(dst []byte, n *node, c clock) []byte {
	if n.dir == nil {
		dst = append(dst, `,"value":`...)
		dst = appendString(dst, n.value)
	} else {
		dst = append(dst, `,"dir":true`...)
	}
	return appendDeadline(dst, n, c)
}

// appendDeadline appends expiration and ttl, if the node has a deadline.
func appendDeadline(dst []byte, n *node, c clock) []byte {
	if n.deadline != 0 {
		dst = appendExpiry(dst, n.deadline.shifted(c.shift), c.now)
	}
	return dst
}

// EscapedLen is how many bytes s takes between the quotes of a JSON string.
func EscapedLen(s string) int {
	n := 0
	var b [partBytes * 6]byte
	for s != "" {
		end := partEnd(s)
		n += len(appendEscaped(b[:0], s[:end]))
		s = s[end:]
	}
	return n
}

// appendRemoved appends the node of an event that removed n at index: no value, no expiration (K28, K73).
func appendRemoved(dst []byte, key string, n *node, index Index) []byte {
	dst = append(dst, `{"key":`...)
	dst = appendString(dst, key)
	if n.dir != nil {
		dst = append(dst, `,"dir":true`...)
	}
	dst = appendIndexes(dst, index, n.created)
	return append(dst, '}')
}
