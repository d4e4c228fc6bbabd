// A step of beam search: of all extensions of a sentence's beams by one token, those that end and those that stay live.
#include <cmath>
#include <limits>
#include <new>
#include <vector>
#include "args.h"

extern "C" const char* regard_best(const void* best);

namespace {
constexpr float NEVER = -std::numeric_limits<float>::infinity();

// The candidates of a sentence, in the order of their scores; of equal ones, those of the first row come first. Each
// row's are in order already.
class Merged {
  public:
    Merged(const Extension& call, const BestTokens& best, i64 sentence)
        : e(call), b(best), width(b.rows / e.sentences), first(sentence * width), next(width, 0) {}
    i64 row, token;
    float score;
    // Goes on to the next candidate. False if there is none.
    bool advance() {
        i64 chosen = -1;
        for (i64 w = 0; w < width; ++w) {
            if (next[w] == b.count) continue;
            float other = score_of(first + w, next[w]);
            if (chosen < 0 || other > score) chosen = w, score = other;
        }
        if (chosen < 0) return false;
        row = first + chosen, token = b.tokens[row * b.count + next[chosen]++];
        return true;
    }

  private:
    float score_of(i64 r, i64 place) const {
        if (e.scores[r] == NEVER) return NEVER;
        float logit = b.values[r * b.count + place];
        return e.scores[r] + (e.normalized ? logit : logit - b.sums[r]);
    }
    const Extension& e;
    const BestTokens& b;
    i64 width, first;
    std::vector<i64> next;
};

// Whether the logits of every live row are a distribution.
bool all_valid(const Extension& e, const BestTokens& b) {
    for (i64 r = 0; r < b.rows; ++r)
        if (e.scores[r] != NEVER && (std::isnan(b.sums[r]) || (!e.normalized && b.sums[r] == NEVER))) return false;
    return true;
}

struct Candidate {
    float score;
    i64 row, token;
};

// The number of candidates that ended.
i64 extend(const Extension& e, const BestTokens& b) {
    i64 ended = 0;
    std::vector<Candidate> rest;  // those of probability 0 and those that end: they fill a beam that has too few others
    for (i64 s = 0; s < e.sentences; ++s) {
        Merged merged(e, b, s);
        i64 live = 0;
        rest.clear();
        auto keep = [&](const Candidate& c) {
            i64 at = s * e.live + live++;
            e.live_scores[at] = c.score, e.live_rows[at] = c.row, e.live_tokens[at] = c.token;
        };
        for (i64 place = 0; (live < e.live || place < e.beam) && merged.advance(); ++place) {
            Candidate c{merged.score, merged.row, merged.token};
            bool ends = c.token == e.eos, possible = c.score > NEVER;
            if (ends && possible && place < e.beam) {
                e.ended[ended++] = {s, c.score, c.row};
            }
            if (ends || !possible) {
                rest.push_back({NEVER, c.row, c.token});
            } else if (live < e.live) {
                keep(c);
            }
        }
        for (const Candidate& c : rest)
            if (live < e.live) keep(c);
        e.tops[s] = e.live_scores[s * e.live];
    }
    return ended;
}

constexpr i64 INVALID = -1, NO_MEMORY = -2;
}  // namespace

// Returns the number of extensions that ended, or `INVALID`: the logits of a live row are not a distribution, or
// `NO_MEMORY`.
extern "C" __attribute__((visibility("default"))) i64 regard_extend(const void* extension) {
    const Extension& e = *(const Extension*)extension;
    try {
        BestTokens best = e.best;
        std::vector<float> values(best.rows * best.count), sums(best.rows);
        std::vector<i64> tokens(best.rows * best.count);
        best.values = values.data(), best.tokens = tokens.data(), best.sums = sums.data();
        if (regard_best(&best)) return NO_MEMORY;
        return all_valid(e, best) ? extend(e, best) : INVALID;
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
}
