package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// value is a flag's type: how its text is read into a field, and what to tell people about it. Set checks syntax only,
// so that every range fault of a command line can be reported together by check.
type value interface {
	pflag.Value
	allowed() string // what is accepted, for messages and docs
}

// ranged is a value that can be well-formed and still out of bounds.
type ranged interface {
	check() error
}

// errParse is the text the reference prints for malformed numbers and booleans (F3).
var errParse = errors.New("parse error")

// textValue is any text.
type textValue struct {
	p    *string
	what string
}

func (v textValue) Set(s string) error { *v.p = s; return nil }
func (v textValue) String() string     { return *v.p }
func (v textValue) Type() string       { return "text" }
func (v textValue) allowed() string    { return v.what }

// boolValue takes what F1 lists, and no separate word as its value.
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
func (v boolValue) allowed() string { return "true or false" }

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
func (v wordValue) allowed() string { return "true, false or " + v.word }

// choiceValue is one of a few words; a key of also is another spelling of its value.
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
func (v choiceValue) allowed() string {
	words := slices.Clone(v.words)
	for spelling, word := range v.also {
		words = append(words, fmt.Sprintf("%s (= %s)", spelling, word))
	}
	slices.Sort(words[len(v.words):])
	return strings.Join(words, ", ")
}

// urlsValue is a list of URLs (F18). With optional, the empty text is the empty list.
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
func (v urlsValue) String() string  { return v.p.String() }
func (v urlsValue) Type() string    { return "urls" }
func (v urlsValue) allowed() string { return "http://host:port, several with commas" }

// clusterValue is a list of members with their peer URLs; the empty text is the empty list.
type clusterValue struct{ p *map[string]URLs }

func (v clusterValue) Set(s string) error {
	cluster, err := ParseCluster(s)
	if err != nil {
		return err
	}
	if url, names := duplicate(cluster); url != "" {
		return fmt.Errorf("%s belongs to %s", url, names)
	}
	for _, name := range slices.Sorted(maps.Keys(cluster)) {
		for i := range cluster[name] {
			if why := unreachable(&cluster[name][i]); why != "" {
				return errors.New(name + " " + why)
			}
		}
	}
	*v.p = cluster
	return nil
}
func (v clusterValue) String() string { return clusterText(*v.p) }
func (v clusterValue) Type() string   { return "members" }
func (v clusterValue) allowed() string {
	return "name=http://host:port or id=http://host:port, several with commas"
}

// listValue is a comma-separated list, kept sorted and without doubles; the empty text is the empty list. item checks
// one entry and gives its canonical form.
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
			return errUnshown
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
func (v listValue) allowed() string { return v.what }

// ignoredValue swallows anything (F16, F59).
type ignoredValue struct{}

func (ignoredValue) Set(string) error { return nil }
func (ignoredValue) String() string   { return "" }
func (ignoredValue) Type() string     { return "ignored" }
func (ignoredValue) allowed() string  { return "anything" }

// outside is the fault of a number that is not within min and max.
func outside[T cmp.Ordered](v, low, high T) bool { return v < low || v > high }
