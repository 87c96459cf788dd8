package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// notation is how metadata is written. fargo's own map of what it read trims values and makes numbers of
// some, so it is read from what fargo keeps as it came.
type notation interface {
	// sent is how to give fargo a key.
	sent(key string) string
	read(raw []byte) (map[string]string, error)
}

type jsonNotation struct{}

func (jsonNotation) sent(key string) string { return key }

func (jsonNotation) read(raw []byte) (map[string]string, error) {
	metadata := map[string]string{}
	if len(raw) == 0 {
		return metadata, nil
	}
	err := json.Unmarshal(raw, &metadata)
	// By this servers mark empty metadata.
	delete(metadata, "@class")
	return metadata, err
}

// xmlNotation knows Eureka's escapes of keys as names of elements, which fargo leaves to its user.
type xmlNotation struct{}

func (xmlNotation) sent(key string) string {
	var name strings.Builder
	for at, character := range key {
		switch {
		case character == '_':
			name.WriteString("__")
		case character == '$':
			name.WriteString("_-")
		case mayStandInName(character, at == 0):
			name.WriteRune(character)
		default:
			for _, unit := range utf16.Encode([]rune{character}) {
				fmt.Fprintf(&name, "_.%04x", unit)
			}
		}
	}
	return name.String()
}

// mayStandInName says so of fewer characters than XML allows.
func mayStandInName(character rune, first bool) bool {
	if character < 0x80 && unicode.IsLetter(character) {
		return true
	}
	return !first && strings.ContainsRune("0123456789.-:", character)
}

func (xmlNotation) read(raw []byte) (map[string]string, error) {
	metadata := map[string]string{}
	decoder := xml.NewDecoder(bytes.NewReader(raw))
	var key string
	var value strings.Builder
	for {
		// Raw, as a colon in a key begins no namespace.
		token, err := decoder.RawToken()
		if errors.Is(err, io.EOF) {
			return metadata, nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			key = unescaped(qualified(token.Name))
			value.Reset()
		case xml.CharData:
			value.Write(token)
		case xml.EndElement:
			metadata[key] = value.String()
		}
	}
}

func qualified(name xml.Name) string {
	if name.Space == "" {
		return name.Local
	}
	return name.Space + ":" + name.Local
}

var escape = regexp.MustCompile(`_(_|-|\.[0-9a-f]{4})|[^_]|_`)

func unescaped(name string) string {
	var units []uint16
	for _, part := range escape.FindAllString(name, -1) {
		switch {
		case part == "__":
			units = append(units, '_')
		case part == "_-":
			units = append(units, '$')
		case strings.HasPrefix(part, "_."):
			unit, _ := strconv.ParseUint(part[2:], 16, 16) // The pattern lets nothing else through.
			units = append(units, uint16(unit))
		default:
			units = append(units, utf16.Encode([]rune(part))...)
		}
	}
	return string(utf16.Decode(units))
}
