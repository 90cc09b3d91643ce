// Package form reads the parameters of a keys request from its query and its form body, checks them, and makes a command of
// them. It is pure: it knows neither HTTP nor memory budgets.
//
//	text → Scan → Fields → Parse → Params → Command
//
// net/url does not parse here: it would make a map, and several copies of each pair.
package form

import (
	"errors"
	"net/url"
	"strings"
)

// A fieldID stands for the name of a request parameter.
type fieldID uint8

const (
	fieldValue fieldID = iota
	fieldDir
	fieldTTL
	fieldPrevValue
	fieldPrevIndex
	fieldPrevExist
	fieldRefresh
	fieldRecursive
	fieldSorted
	fieldQuorum
	fieldWait
	fieldWaitIndex
	fieldStream
	fieldNoValueOnSuccess
	fieldCount
)

// fieldNamed finds the parameter of a name. Names are case-sensitive, and an unknown one is not an error (K13).
func fieldNamed[T ~string | ~[]byte](name T) (id fieldID, known bool) {
	switch string(name) {
	case "value":
		return fieldValue, true
	case "dir":
		return fieldDir, true
	case "ttl":
		return fieldTTL, true
	case "prevValue":
		return fieldPrevValue, true
	case "prevIndex":
		return fieldPrevIndex, true
	case "prevExist":
		return fieldPrevExist, true
	case "refresh":
		return fieldRefresh, true
	case "recursive":
		return fieldRecursive, true
	case "sorted":
		return fieldSorted, true
	case "quorum":
		return fieldQuorum, true
	case "wait":
		return fieldWait, true
	case "waitIndex":
		return fieldWaitIndex, true
	case "stream":
		return fieldStream, true
	case "noValueOnSuccess":
		return fieldNoValueOnSuccess, true
	}
	return 0, false
}

// Fields are the parameters of one request as text: for each known name the first value that was scanned (K10). It is an
// array, so that a request needs no map and many parameters take no more memory.
type Fields struct {
	present uint32 // a bit for each fieldID
	text    [fieldCount]string
}

func (f *Fields) has(id fieldID) bool { return f.present&(1<<id) != 0 }

func (f *Fields) put(id fieldID, text string) {
	f.present |= 1 << id
	f.text[id] = text
}

// errSemicolon refuses a separator that older form libraries accepted like an ampersand (K14).
var errSemicolon = errors.New("invalid semicolon separator in query")

// Scan reads the pairs of a query or form body into f. A field that f already has keeps its value. The error is the first
// fault of K14. f shares no memory with a []byte text.
func Scan[T ~string | ~[]byte](f *Fields, text T) error {
	for len(text) > 0 {
		end, equals, semicolon := pairBounds(text)
		pair := text[:end]
		text = text[min(end+1, len(text)):]
		if semicolon {
			return errSemicolon
		}
		if len(pair) == 0 {
			continue
		}
		name, value := pair[:equals], pair[min(equals+1, end):]
		if err := take(f, name, value); err != nil {
			return err
		}
	}
	return nil
}

// pairBounds finds the end of the first pair of text, and the end of its name.
func pairBounds[T ~string | ~[]byte](text T) (end, equals int, semicolon bool) {
	equals = -1
	for end = 0; end < len(text) && text[end] != '&'; end++ {
		switch text[end] {
		case '=':
			if equals < 0 {
				equals = end
			}
		case ';':
			semicolon = true
		}
	}
	if equals < 0 {
		equals = end // a bare name equals "name=" (K13)
	}
	return end, equals, semicolon
}

// take decodes one pair, and keeps it if it is known and new. Unknown pairs must be well-formed too.
func take[T ~string | ~[]byte](f *Fields, name, value T) error {
	id, known := fieldNamed(name)
	if !known {
		decoded, err := unescape(name)
		if err != nil {
			return err
		}
		id, known = fieldNamed(decoded)
	}
	if !known || f.has(id) {
		_, err := escapes(value)
		return err
	}
	v, err := unescape(value)
	if err != nil {
		return err
	}
	f.put(id, v)
	return nil
}

// unescape decodes %XX, and + as a space. Its result holds no more memory than its length, since values live long.
func unescape[T ~string | ~[]byte](text T) (string, error) {
	count, err := escapes(text)
	if err != nil || count == 0 {
		return string(text), err
	}
	var b strings.Builder
	b.Grow(decodedLen(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '%':
			b.WriteByte(unhex(text[i+1])<<4 | unhex(text[i+2]))
			i += 2
		case '+':
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// escapes counts what unescape has to replace, and finds the first invalid escape.
func escapes[T ~string | ~[]byte](text T) (count int, err error) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '+':
			count++
		case '%':
			if i+2 >= len(text) || !isHex(text[i+1]) || !isHex(text[i+2]) {
				return 0, url.EscapeError(text[i:min(i+3, len(text))])
			}
			count++
			i += 2
		}
	}
	return count, nil
}

// decodedLen is the length of text after unescape; its escapes are valid.
func decodedLen[T ~string | ~[]byte](text T) int {
	n := len(text)
	for i := 0; i < len(text); i++ {
		if text[i] == '%' {
			n -= 2
			i += 2
		}
	}
	return n
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}
