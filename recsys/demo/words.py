"""The shop's vocabulary, and texts made of it. A facet is stated in several ways, so that only a reader who knows that
"anchor" and "a breath of sea air" belong together can carry what one item taught over to the next."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Facet:
    """One value of a facet: words for a title, phrases for a description."""

    titles: tuple[str, ...]
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Noun:
    """A kind of product; `number` is s(ingular), p(lural) or m(ass); consumables are bought again and again."""

    name: str
    number: str
    is_consumable: bool
    materials: tuple[str, ...]


@dataclass(frozen=True)
class Category:
    """A department of the shop: id prefix, median price, nouns, whom or what they are for."""

    name: str
    prefix: str
    price: float
    nouns: tuple[Noun, ...]
    uses: tuple[str, ...]


def _facet(titles: str, phrases: str) -> Facet:
    return Facet(tuple(titles.split(",")), tuple(phrases.split("|")))


def _noun(line: str) -> Noun:
    """`mug/glass/wood`, `earrings+/silver`, `tea~*`: + plural, ~ mass, * consumable, then what it may be made of."""
    word, *materials = line.split("/")
    number, is_consumable = "p" if "+" in word else "m" if "~" in word else "s", "*" in word
    return Noun(word.rstrip("+~*"), number, is_consumable, tuple(PACKAGES) if is_consumable else tuple(materials))


def _category(name: str, price: float, nouns: str, uses: str) -> Category:
    return Category(name, name[:3].upper(), price, tuple(_noun(line) for line in nouns.split(",")), tuple(uses.split("|")))


PACKAGES: dict[str, str] = {
    "wood": "in a wooden box",
    "ceramic": "in a stoneware pot",
    "glass": "in a glass jar",
    "metal": "in a tin",
    "cotton": "in a canvas pouch",
    "linen": "in a linen bag",
    "paper": "in a paper sleeve",
    "leather": "in a leather case",
    "rattan": "in a wicker basket",
    "brass": "in a copper cup",
}
CATEGORIES: tuple[Category, ...] = (
    _category(
        "bath",
        9,
        "soap bar*,bath bombs+*,hand towel/cotton/linen,bathrobe/cotton/linen/wool,"
        "soap dish/wood/ceramic/glass/metal,hand cream~*,wash bag/cotton/linen/leather,bath mat/cotton/wood/wool",
        "a slow evening in the tub|the guest bathroom|a weekend of doing nothing|anyone who deserves a rest",
    ),
    _category(
        "books",
        12,
        "notebook/paper/leather/linen,diary/paper/leather/cotton,sketchbook/paper/linen,story book/paper/cotton,"
        "recipe book/paper/linen,puzzle book/paper,wall calendar/paper/wood,photo album/paper/leather/linen",
        "the bedside table|a keen writer|long train rides|rainy afternoons indoors",
    ),
    _category(
        "candles",
        11,
        "scented candle*,tealights+*,incense sticks+*,room spray~*,"
        "lantern/glass/metal/brass/paper,candle holder/glass/metal/ceramic/brass/wood,oil burner/ceramic/brass,wax melts+*",
        "dark evenings|the mantelpiece|a calm corner to read in|a warm welcome in the hall",
    ),
    _category(
        "garden",
        17,
        "plant pot/metal/ceramic/wood/rattan,watering can/metal/brass,bird feeder/metal/wood/ceramic,seed kit*,"
        "gardening gloves+/leather/cotton,doormat/rattan/cotton,wind chime/metal/wood/glass,plant food~*",
        "balconies and borders|the potting shed|anyone with green fingers|long days on the patio",
    ),
    _category(
        "home",
        26,
        "cushion/cotton/wool/linen,throw/cotton/wool/linen,wall clock/wood/metal/brass,picture frame/wood/metal/brass/silver,"
        "vase/glass/ceramic/brass,rug/wool/cotton/rattan,table lamp/wood/brass/glass/rattan,mirror/wood/brass/rattan",
        "the living room|a first flat|that empty corner by the sofa|a housewarming present",
    ),
    _category(
        "jewellery",
        24,
        "necklace/silver/brass/glass,earrings+/silver/brass/glass/wood,bracelet/silver/leather/brass,ring/silver/brass/wood,"
        "brooch/silver/glass/metal,keyring/leather/metal/wool,hair clips+/metal/wood/silver,watch/leather/silver/metal",
        "a birthday girl|the best friend you have|a night out|wearing every single day",
    ),
    _category(
        "kitchen",
        15,
        "mug/ceramic/metal/glass,teapot/ceramic/glass/metal,plate/ceramic/wood/glass,bowl/ceramic/wood/glass,"
        "chopping board/wood/glass,tea towel/cotton/linen,apron/cotton/linen/leather,storage jar/ceramic/glass/metal",
        "the breakfast table|cooks of every age|Sunday baking|the first cup of the morning",
    ),
    _category(
        "party",
        6,
        "napkins+*,bunting~/paper/cotton/linen,balloons+*,paper plates+*,"
        "gift wrap~*,cake toppers+/paper/wood/metal,garland/paper/wool/metal,greeting cards+*",
        "a birthday tea|decorating the village hall|a table full of friends|celebrations big and small",
    ),
    _category(
        "tea room",
        8,
        "loose tea~*,ground coffee~*,biscuits+*,chocolate bar*,honey~*,hot chocolate~*,marmalade~*,fudge~*",
        "a quiet break at four|the office drawer|a hamper|someone with a sweet tooth",
    ),
    _category(
        "toys",
        14,
        "soft toy/cotton/wool,jigsaw/wood/paper,building blocks+/wood/cotton,pull-along toy/wood,"
        "board game/wood/paper,spinning top/wood/metal,toy car/wood/metal,play set/wood/paper/metal",
        "small hands|a third birthday|children with big ideas|the playroom shelf",
    ),
)
"""In order of their prefixes, so that item ids sort by category."""

THEMES: dict[str, Facet] = {
    "nautical": _facet("Nautical,Anchor,Sailor,Seaside", "an anchor motif|sailor stripes|a breath of sea air|little boats and lighthouses"),
    "botanical": _facet(
        "Botanical,Fern,Leafy,Wildflower", "pressed ferns|a leafy print|wild flowers from the meadow|drawings from an old herbarium"
    ),
    "vintage": _facet(
        "Vintage,Retro,Fifties,Antique Style",
        "a nod to the fifties|faded lettering from another age|grandmother's favourite look|a flea market feel",
    ),
    "dinosaurs": _facet(
        "Dinosaur,T-Rex,Jurassic,Triceratops", "a friendly T-Rex|roaring Jurassic beasts|a herd of triceratops|fossils and footprints"
    ),
    "space": _facet("Space,Rocket,Galaxy,Astronaut", "rockets and planets|a sky full of stars|an astronaut on the moon|swirling galaxies"),
    "woodland": _facet(
        "Woodland,Fox,Hedgehog,Forest", "a sleepy fox|hedgehogs among the leaves|creatures of the forest|toadstools and acorns"
    ),
    "tropical": _facet("Tropical,Palm,Flamingo,Pineapple", "palm leaves|pink flamingos|a slice of the islands|ripe pineapples"),
    "cats": _facet("Cat,Kitten,Tabby,Whiskers", "a curled up kitten|paws and whiskers|a tabby at the window|purring company"),
    "dogs": _facet("Dog,Puppy,Dachshund,Spaniel", "a loyal spaniel|playful puppies|a dachshund in a scarf|wagging tails"),
    "birds": _facet("Bird,Robin,Swallow,Feather", "swallows in flight|a robin on a branch|soft feathers|garden songsters"),
    "bees": _facet("Bee,Honeycomb,Bumblebee,Hive", "busy bumblebees|a honeycomb pattern|the hum of the hive|pollen gatherers at work"),
    "romance": _facet("Heart,Love,Sweetheart,Romantic", "tiny hearts|a message of love|sweethearts in mind|kisses all over"),
    "geometric": _facet("Geometric,Zigzag,Chevron,Triangle", "crisp chevrons|a pattern of triangles|zigzag lines|clean shapes and angles"),
    "music": _facet("Music,Guitar,Vinyl,Melody", "notes and staves|an electric guitar|a spinning record|a tune for every day"),
    "travel": _facet(
        "Travel,World Map,Explorer,Passport", "an old world map|stamps from far places|the spirit of adventure|suitcases and compasses"
    ),
    "fairytale": _facet(
        "Fairytale,Unicorn,Princess,Dragon", "a magic unicorn|castles and dragons|once upon a time|a princess and her spells"
    ),
    "sport": _facet("Football,Cycling,Tennis,Sporty", "a winning goal|bicycles on a hill road|rackets and balls|match day spirit"),
    "farmyard": _facet("Farmyard,Hen,Sheep,Tractor", "plump hens|woolly sheep|a red tractor|life around the barn"),
    "robots": _facet("Robot,Cyborg,Gadget,Clockwork", "a blinking robot|cogs and circuits|a clockwork android|bolts and antennas"),
    "mountains": _facet("Mountain,Alpine,Peak,Hiking", "snowy peaks|an alpine view|trails above the clouds|a hut on the ridge"),
    "japanese": _facet("Japanese,Cherry Blossom,Koi,Kyoto", "cherry blossom|koi in a pond|the calm of Kyoto|waves after Hokusai"),
    "fiesta": _facet("Fiesta,Mexican,Cactus,Llama", "a dancing cactus|llamas with tassels|sugar skulls|the colours of Oaxaca"),
    "easter": _facet("Easter,Bunny,Spring Chick,Egg Hunt", "hopping bunnies|painted eggs|fluffy chicks|a spring egg hunt"),
    "christmas": _facet(
        "Christmas,Reindeer,Snowflake,Festive", "reindeer in the snow|falling snowflakes|holly and stars|Santa and his sleigh"
    ),
}
MATERIALS: dict[str, Facet] = {
    "wood": _facet("Wooden,Oak,Beech", "made of solid oak|turned from beech|cut from smooth timber"),
    "ceramic": _facet("Ceramic,Stoneware,Porcelain", "fired in stoneware|made of fine porcelain|shaped from glazed clay"),
    "glass": _facet("Glass,Crystal", "made of clear glass|blown by mouth|in sparkling crystal"),
    "metal": _facet("Tin,Enamel,Steel", "in brushed steel|of painted tin|with an enamel coat"),
    "brass": _facet("Brass,Copper", "cast in brass|with a warm copper shine|in polished brass"),
    "cotton": _facet("Cotton,Canvas", "woven from organic cotton|sewn from sturdy canvas|in soft cotton"),
    "wool": _facet("Wool,Knitted,Felt", "knitted from lambswool|made of thick felt|in cosy merino"),
    "linen": _facet("Linen,Flax", "in washed linen|woven from flax|of stonewashed linen"),
    "paper": _facet("Paper,Card", "made of recycled paper|printed on thick card|in handmade paper"),
    "leather": _facet("Leather,Suede", "bound in leather|in soft suede|of vegetable tanned hide"),
    "rattan": _facet("Rattan,Wicker", "woven from wicker|in natural rattan|plaited from seagrass"),
    "silver": _facet("Silver,Sterling", "in sterling silver|silver plated|made of hallmarked silver"),
}
COLOURS: dict[str, Facet] = {
    "blue": _facet("Blue,Navy,Indigo,Cobalt", "in deep navy|in sky blue|in indigo"),
    "green": _facet("Green,Sage,Emerald,Olive", "in sage green|in emerald|in a mossy shade"),
    "red": _facet("Red,Scarlet,Crimson", "in bright scarlet|in cherry red|in crimson"),
    "pink": _facet("Pink,Blush,Rose", "in pale blush|in rose|in candy pink"),
    "yellow": _facet("Yellow,Mustard,Lemon", "in sunny yellow|in mustard|in lemon"),
    "white": _facet("White,Ivory,Cream", "in ivory|in chalky white|in cream"),
    "black": _facet("Black,Ebony,Charcoal", "in ebony|in matt black|in charcoal"),
    "grey": _facet("Grey,Slate,Dove", "in dove grey|in slate|in a misty tone"),
    "purple": _facet("Purple,Lavender,Plum", "in lavender|in plum|in violet"),
    "orange": _facet("Orange,Terracotta,Coral", "in terracotta|in coral|in burnt orange"),
    "brown": _facet("Brown,Chestnut,Caramel", "in chestnut|in caramel|in an earthy tone"),
    "rainbow": _facet("Rainbow,Multicolour", "in all the colours of the rainbow|in a riot of colour|in many shades"),
}
STYLES: dict[str, Facet] = {
    "rustic": _facet("Rustic,Farmhouse", "farmhouse charm|a rustic touch|country living at heart"),
    "minimal": _facet("Minimalist,Simple", "quiet, uncluttered lines|a minimal design|nothing more than needed"),
    "elegant": _facet("Elegant,Luxury", "understated elegance|a graceful finish|a refined air"),
    "playful": _facet("Playful,Quirky", "a wink of humour|a quirky twist|plenty of fun"),
    "bohemian": _facet("Boho,Bohemian", "a boho mood|free-spirited tassels|bohemian ease"),
    "industrial": _facet("Industrial,Workshop", "a workshop look|raw edges and rivets|a factory loft feel"),
    "cosy": _facet("Cosy,Snug", "a snug, homely feel|comfort first|all the warmth of a hearth"),
    "traditional": _facet("Classic,Traditional", "a time-honoured design|classic proportions|a traditional pattern"),
}
GRADES = (
    ("Great value", "Good quality at a small price", "An affordable treat"),
    ("A favourite of our customers", "Nicely boxed", "Checked by us before it leaves"),
    ("Finished by hand", "Made in small numbers by craftspeople", "Heirloom quality"),
)
"""Three price levels, cheap to dear."""

OPENINGS = (
    "{a} {material}, with {theme}.",
    "{theme} on {a} {material} {colour}.",
    "We fell for {theme}, and so {this} came to be, {material}.",
    "{this} {brings} {theme} into the day, {material} {colour}.",
    "{material} {colour}: {a} with {theme}.",
    "Think of {theme}: {this} {has} {style}, {colour}.",
    "{style} and {theme}: {a} {colour}.",
    "{a} {colour} for those who love {theme}.",
)
CLOSINGS = (
    "{grade}, just right for {use}.",
    "Perfect for {use}, with {style}.",
    "Made for {use}. {grade}.",
    "It has {style} and is meant for {use}.",
    "A lovely gift for {use}, {material}.",
    "{grade}, {colour}, with {style}.",
)
SUFFIXES = ("Large", "Small", "Gift Boxed", "Set of 2", "Limited Edition", "New Design")

THEME_NAMES, MATERIAL_NAMES, COLOUR_NAMES, STYLE_NAMES = tuple(THEMES), tuple(MATERIALS), tuple(COLOURS), tuple(STYLES)

PARTS = ("title_colour", "title_style", "title_theme", "title_material", "title_suffix")
PART_CHANCES = np.array([0.5, 0.25, 0.75, 0.45, 0.12])
CONSUMABLE_CHANCES = np.array([0.0, 0.35, 0.85, 0.0, 0.25])
"""A tea is not ceramic: a consumable's material is its package and its colour the wrapping, told by the description."""


def write_texts(rng: np.random.Generator, facets: NDArray[np.int64], grade: NDArray[np.int64]) -> list[tuple[str, str]]:
    """(title, description) of each item. facets (n, 6): category, noun, theme, material, colour, style; grade (n,) in 0..2."""
    shown, picks = rng.random((len(facets), len(PARTS))), rng.integers(0, 2**30, (len(facets), 12))
    rows = zip(facets.tolist(), grade.tolist(), shown, picks.tolist(), strict=True)
    return [_text(*row) for row in rows]


def _text(facets: list[int], grade: int, shown: NDArray[np.float64], picks: list[int]) -> tuple[str, str]:
    category, noun = CATEGORIES[facets[0]], CATEGORIES[facets[0]].nouns[facets[1]]
    material = MATERIAL_NAMES[facets[3]]
    values = (THEMES[THEME_NAMES[facets[2]]], MATERIALS[material], COLOURS[COLOUR_NAMES[facets[4]]], STYLES[STYLE_NAMES[facets[5]]])
    words = [_pick(value.titles, pick) for value, pick in zip(values, picks, strict=False)]
    is_shown = shown < (CONSUMABLE_CHANCES if noun.is_consumable else PART_CHANCES)
    parts = [words[2], words[3], words[0], words[1]]
    title = " ".join([*(p for p, s in zip(parts, is_shown, strict=False) if s), noun.name.title()])
    title += f", {_pick(SUFFIXES, picks[4])}" if is_shown[4] else ""
    slots = dict(
        zip(("theme", "material", "colour", "style"), (_pick(v.phrases, p) for v, p in zip(values, picks[5:9], strict=True)), strict=True)
    )
    if noun.is_consumable:
        slots |= {"material": f"packed {PACKAGES[material]}", "colour": f"with a ribbon {slots['colour']}"}
    slots |= _grammar(noun) | {"use": _pick(category.uses, picks[9]), "grade": _pick(GRADES[grade], picks[10])}
    return title, _describe(picks[11], slots)


def _pick(options: tuple[str, ...], pick: int) -> str:
    return options[pick % len(options)]


def _grammar(noun: Noun) -> dict[str, str]:
    article = "" if noun.number != "s" else "an " if noun.name[0] in "aeiou" else "a "
    is_plural = noun.number == "p"
    return {
        "a": article + noun.name,
        "this": ("these " if is_plural else "this ") + noun.name,
        "brings": "bring" if is_plural else "brings",
        "has": "have" if is_plural else "has",
    }


def _describe(pick: int, slots: dict[str, str]) -> str:
    """Two sentences, each facet told once at most: a closing that repeats a slot of the opening is passed over."""
    opening = OPENINGS[pick % len(OPENINGS)]
    told = [slot for slot in ("{material}", "{colour}", "{style}") if slot in opening]
    closings = [closing for closing in CLOSINGS if not any(slot in closing for slot in told)]
    sentences = f"{opening} {closings[pick // len(OPENINGS) % len(closings)]}".format(**slots)
    return ". ".join(map(_capital, sentences.split(". ")))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
