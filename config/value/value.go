// Package value has the types of settings: how the text of a flag or a variable becomes a value, and what people are told about
// what is allowed. Package config has the table of flags that uses them.
//
// Set checks syntax only, and Check checks bounds, so that all faults of a command line can be reported together.
package value

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"canopy/internal/redact"
)

// A Value is a flag's type: how its text is read into a field, and what to tell people about it.
type Value interface {
	pflag.Value
	Allowed() string // what is accepted, for messages and docs
}

// A Ranged value can be well-formed and still out of bounds.
type Ranged interface {
	Check() error
}

// errParse is the text the reference prints for malformed numbers and booleans (F3).
var errParse = errors.New("parse error")

// ErrHidden is the fault of a list of URLs that may hold a password, so that no part of it is shown.
var ErrHidden = errors.New("one of the URLs cannot be read; it is not shown, since it may hold a password")

// Text is any text; what says what it is.
func Text(p *string, what string) Value { return textValue{p, what} }

type textValue struct {
	p    *string
	what string
}

func (v textValue) Set(s string) error { *v.p = s; return nil }
func (v textValue) String() string     { return *v.p }
func (v textValue) Type() string       { return "text" }
func (v textValue) Allowed() string    { return v.what }

// Bool is true or false. It takes no separate word as its value (F1).
func Bool(p *bool) Value { return boolValue{p} }

type boolValue struct{ p *bool }

func (v boolValue) Set(s string) error {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return errParse
	}
	*v.p = b
	return nil
}
func (v boolValue) String() string  { return strconv.FormatBool(*v.p) }
func (v boolValue) Type() string    { return "bool" }
func (v boolValue) Allowed() string { return "true or false" }

// Word is a boolean that has a third value, a word.
func Word(p *string, word string) Value { return wordValue{p, word} }

// wordValue is a boolean that has a third value, a word: "" is no, "once" is yes.
type wordValue struct {
	p    *string
	word string
}

func (v wordValue) Set(s string) error {
	if s == v.word {
		*v.p = s
		return nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return errParse
	}
	if *v.p = ""; b {
		*v.p = "once"
	}
	return nil
}
func (v wordValue) String() string {
	switch *v.p {
	case "":
		return "false"
	case "once":
		return "true"
	}
	return *v.p
}
func (v wordValue) Type() string    { return "bool" }
func (v wordValue) Allowed() string { return "true, false or " + v.word }

// Choice is one of a few words; a key of also is another spelling of its value.
func Choice(p *string, words []string, also map[string]string) Value {
	return choiceValue{p, words, also}
}

type choiceValue struct {
	p     *string
	words []string
	also  map[string]string
}

func (v choiceValue) Set(s string) error {
	word, ok := v.also[s]
	if !ok {
		word = s
	}
	if !slices.Contains(v.words, word) {
		return errors.New("invalid value")
	}
	*v.p = word
	return nil
}
func (v choiceValue) String() string { return *v.p }
func (v choiceValue) Type() string   { return "word" }
func (v choiceValue) Allowed() string {
	words := slices.Clone(v.words)
	for spelling, word := range v.also {
		words = append(words, fmt.Sprintf("%s (= %s)", spelling, word))
	}
	slices.Sort(words[len(v.words):])
	return strings.Join(words, ", ")
}

// URLList is a list of URLs, at least one (F18).
func URLList(p *URLs) Value { return urlsValue{p: p} }

// OptionalURLList is URLList, or the empty text for none.
func OptionalURLList(p *URLs) Value { return urlsValue{p, true} }

type urlsValue struct {
	p        *URLs
	optional bool
}

func (v urlsValue) Set(s string) error {
	if v.optional && s == "" {
		*v.p = nil
		return nil
	}
	urls, err := ParseURLs(s)
	if err != nil {
		return err
	}
	*v.p = urls
	return nil
}
func (v urlsValue) String() string { return v.p.String() }
func (v urlsValue) Type() string   { return "urls" }
func (v urlsValue) Allowed() string {
	return "http://host:port or https://host:port, several with commas"
}

// List is a comma-separated list; item checks one entry and gives its canonical form, what says what the entries are.
func List(p *[]string, item func(string) (string, error), what string) Value {
	return listValue{p, item, what}
}

// listValue is kept sorted and without doubles; the empty text is the empty list.
type listValue struct {
	p    *[]string
	item func(string) (string, error)
	what string
}

func (v listValue) Set(s string) error {
	var list []string
	for entry := range strings.SplitSeq(s, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		clean, err := v.item(entry)
		if err != nil && strings.Contains(s, "@") {
			return ErrHidden
		}
		if err != nil {
			return err
		}
		list = append(list, clean)
	}
	slices.Sort(list)
	*v.p = slices.Compact(list)
	return nil
}
func (v listValue) String() string  { return strings.Join(*v.p, ",") }
func (v listValue) Type() string    { return "list" }
func (v listValue) Allowed() string { return v.what }

// Ignored accepts anything, and keeps nothing (F16, F59).
func Ignored() Value { return ignoredValue{} }

type ignoredValue struct{}

func (ignoredValue) Set(string) error { return nil }
func (ignoredValue) String() string   { return "" }
func (ignoredValue) Type() string     { return "ignored" }
func (ignoredValue) Allowed() string  { return "anything" }

// outside is the fault of a number that is not within min and max.
func outside[T cmp.Ordered](v, low, high T) bool { return v < low || v > high }

// secretValue is a URL that may hold a password, which is not shown.
type secretValue struct{ textValue }

// Secret is a URL that may hold a password; what says what it is.
func Secret(p *string, what string) Value { return secretValue{textValue{p, what}} }

func (v secretValue) String() string { return redact.FlagValue(*v.p) }

// IsSecret tells whether a value may hold a password.
func IsSecret(v Value) bool {
	_, is := v.(secretValue)
	return is
}
