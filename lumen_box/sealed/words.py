"""The words of fingerprints: a byte at an even place is in ``EVEN``, a byte at an odd place in ``ODD``.

The value of a byte is the place of its word in the list. Short words and long words alternate, so a word that is
missing or swapped can be heard; no two words of a list differ by one letter, and none sounds like another. The lists
are part of the format: they never change.
"""

from __future__ import annotations

_EVEN = """
    afoot album amigo apple apron aspen attic broom brush cedar chess chunk claw clerk cliff crown curry daisy denim
    disco drill drum eagle elbow empty enjoy equal field fleet flint flora flute foam focus forge frog fruit gauze
    gecko giant glass glide globe goat gravy guard gulf happy harp hatch hawk herb hippo hobby horn hotel house
    human hyena igloo index iris ivory jazzy jelly joint joker judge juice jumbo kayak kelp khaki kiosk kite kiwi
    knife knock koala label lake laser lava leaf level lilac limb linen lion llama logic lotus lunch lynx lyric
    mango mask merit metro mimic mint mocha model motor movie mulch mural nacho navy nerve ninja noble north novel
    nylon oasis oboe ocean olive onion orbit organ otter ounce oval owner oxide ozone panel paper party pasta pearl
    penny petal photo piano pixel pizza plaza poem polka pony poppy porch prism proud psalm pulse pupil quake queen
    quiz quota radio rally ramp ranch raven razor relic rhino rigid robot rocky rodeo rough royal rugby ruler rumba
    salsa sandy satin sauna scarf scout scrub shark shelf shirt silk siren skate sled slope smile smoke snail sofa
    sonic soup sport squid stamp stove straw sugar sunny surf swan swift sword syrup taxi tent thumb tiger tiny
    toast tofu token topaz totem tower track trend tribe trout tuna turbo tusk tutor tweed twist ultra uncle unity
    urban usher valve vault venue vest video vinyl vivid vocal voter vowel waltz wheel whisk wing wolf world wrist
    yacht yeast yolk young zebra zero zesty zinc zippy
"""
EVEN: tuple[str, ...] = tuple(_EVEN.split())

_ODD = """
    absolute acrobat almanac analyst antelope applause apricot aquarium archive armchair asphalt athlete autumn
    backpack ballerina barbecue bedrock bicycle biscuit blueprint bookcase bracelet breakfast broccoli buffalo
    butterfly cashew cathedral chimney chocolate cinnamon classic coconut company cowboy crystal customer cylinder
    daffodil daylight decimal delivery detective dinosaur diploma dolphin domino driveway duckling eclipse economy
    elephant embassy engineer evening family farewell festival fireplace fisherman flamingo football formula
    fountain freezer furnace garlic gazelle general glacier goldfish gondola governor grocery gymnast hairbrush
    handbag harvest headline hedgehog helmet hexagon hickory highway historian holiday horizon hospital hurricane
    iguana imagine insect inventor jackpot jigsaw journal juniper kangaroo keyboard kingdom kitchen labyrinth
    lasagna lavender lemonade limerick lizard lobster lollipop luggage luxury macaroni magician mandolin marigold
    mattress mechanic medicine melody mermaid midnight mirror molecule monument mosaic mosquito mushroom necklace
    neptune notebook november nursery oatmeal obelisk octopus opossum orchestra origami ostrich outfit overcoat
    paprika parachute passport pavilion pelican penguin perfume pharmacy picnic pillow pineapple platypus polygon
    popcorn porcelain portrait postcard potato printer professor propeller pudding pumpkin pyramid quarter raccoon
    radiator raspberry rectangle referee reindeer reporter republic ribbon romance rosemary runway sailboat salmon
    sandwich sapphire satellite saturday sausage saxophone scenery scholar scissors scorpion sculptor seashell
    secretary september shampoo shepherd signature skeleton skyline slipper snowflake spatula spinach squirrel
    stadium student submarine suitcase summer sunflower sunrise surgeon sweater syllable symphony tangerine tapestry
    telegram telescope thermos thunder tornado tortoise tourist traffic treasure triangle trombone trophy trumpet
    tugboat turnip tuxedo typhoon ukulele umbrella universe vacation vanilla veranda vinegar visitor vitamin volcano
    voyage waffle walnut waterfall weekend whistle wildlife windmill workshop yesterday zeppelin zucchini
"""
ODD: tuple[str, ...] = tuple(_ODD.split())
