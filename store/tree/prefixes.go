package tree

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"strings"
)

// prefixes has the first bytes of all names in a page, behind what they have in common, as numbers side by side. Each
// comparison with a name itself reads memory at two more places. Prefixes never change, and the copies of a page share them.
type prefixes struct {
	words     [pageItems]uint64 // words[i] == wordOf(items[i].Name[commonLen:]), sorted; math.MaxUint64 behind the last item
	common    [commonMax]byte   // all names begin with common[:commonLen]
	commonLen uint8             // 0 <= commonLen <= commonMax
}

const (
	commonMax = 39
	wordBytes = 8
	lineWords = 8 // in a line of the processor's cache
)

func makePrefixes(items []*Node) *prefixes {
	p := &prefixes{}
	p.commonLen = uint8(copy(p.common[:], commonPrefix(items[0].Name(), items[len(items)-1].Name())))
	for i := range p.words {
		p.words[i] = math.MaxUint64
		if i < len(items) {
			p.words[i] = wordOf(items[i].Name()[p.commonLen:])
		}
	}
	return p
}

// find returns low and high, so that words[low:high] are those of n that equal word. If none does, both are where it would
// be.
func (p *prefixes) find(word uint64, n int) (low, high int) {
	low = p.countBelow(word)
	switch {
	case low >= n || p.words[low] != word:
		return low, low
	case low+1 == n || p.words[low+1] != word:
		return low, low + 1
	case word == math.MaxUint64:
		return low, n
	}
	return low, p.countBelow(word + 1)
}

// countBelow counts the words that are less. It compares the last word of each cache line, and then all words of one line.
// So the processor can fetch all lines at once, and has no branch to predict.
func (p *prefixes) countBelow(word uint64) int {
	lines := uint64(0)
	for i := lineWords - 1; i < pageItems-lineWords; i += lineWords {
		_, less := bits.Sub64(p.words[i], word, 0)
		lines += less
	}
	count := lines * lineWords
	for _, other := range p.words[count : count+lineWords] {
		_, less := bits.Sub64(other, word, 0)
		count += less
	}
	return int(count)
}

// compare compares names that have the common prefix and equal words. If both end within the word, the longer one goes on
// with zeros, as its word does: the lengths decide.
func (p *prefixes) compare(a, b string) int {
	if max(len(a), len(b)) <= int(p.commonLen)+wordBytes {
		return cmp.Compare(len(a), len(b))
	}
	return strings.Compare(a, b)
}

// wordOf is the first eight bytes of a name as a number. Numbers have the order of the names.
func wordOf(name string) uint64 {
	var b [wordBytes]byte
	copy(b[:], name)
	return binary.BigEndian.Uint64(b[:])
}

func commonPrefix(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return a[:n]
}
