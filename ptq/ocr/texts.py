"""The lines of text that the pictures show: receipts, signs, letters, tables.  Those that calibrate are none of those that are compared."""

from __future__ import annotations

__all__ = ["CALIBRATION", "COMPARISON"]

CALIBRATION = """
Bakery and Coffee House
Table 12, two guests
Apple pie with cream 4.80
Black tea, large pot 3.50
Sandwich with cheese 6.25
Mineral water 0.5 l 2.90
Total including tax 17.45
Paid by card, thank you
Platform 9, departs 14:35
Change here for the airport
Tickets are checked on board
Please mind the gap
Night bus N17 runs hourly
Single ride: 2.60 EUR
Lost property: ring 555-0142
Next stop: Museum Island
Dear Mrs. Whitfield,
we received your letter of May 3
and have looked into the matter.
The missing parcel was found
in our depot in Rotterdam.
It will be sent to you again
by express mail on Monday.
Kind regards, J. Okafor
Warning: High Voltage
Keep this door closed
No smoking beyond this point
Wear gloves and goggles
In case of fire use stairs
Assembly point B, north gate
Maximum load 1250 kg
Inspected 11/2023 by QRX Ltd.
Invoice No. 2024-00871
Order date: 17 February 2024
Quantity 36, unit price 12.99
Discount 15% applied
Subtotal 397.49 USD
Shipping and handling 18.00
Amount due 415.49 USD
IBAN DE44 5001 0517 5407 3249 31
Chapter 7: The Lighthouse
The storm came out of the west
and by noon the sea was black.
Old Jonas lit the great lamp
two hours before his time.
"Nobody sails tonight," he said,
but far away a bell was ringing
and a small light rose and fell.
Preheat the oven to 180 C
Mix 250 g flour with 3 eggs
Add a pinch of salt and sugar
Knead until the dough is smooth
Let it rest for 40 minutes
Roll out and cut into squares
Bake for 25 minutes, turn once
Serve warm with vanilla sauce
Jazz Quartet Live on Friday
Doors open at 7 pm, show at 8
Tickets $22 (students $11)
Box office: www.blueroom.example
Vocals: Xenia Vogt, Bass: K. Quinn
Free parking behind the hall
Reserve now, few seats left!
Supported by the City Council
"""

COMPARISON = """
Welcome to Harbour Library
Monday to Friday 9:00 - 18:00
Saturday 10:00 - 14:00
Closed on public holidays
Returns: use the box outside
Free wireless in all rooms
Ask at the desk for help
No food or drinks, please
Green Valley Market
Tomatoes 1 kg 3.20
Brown bread 500 g 2.75
Orange juice 1.99
Olive oil, extra virgin 8.40
Ten eggs, free range 3.65
Sum of purchase 19.99
Your cashier today: Martin
Flight LX 1482 to Geneva
Boarding starts at 06:50
Gate A23, seat 17C
Passengers with children first
One piece of hand luggage
Baggage allowance 23 kg
Please have your passport ready
Gate closes 15 minutes before
The garden behind the house
was full of apples that year.
My sister climbed the old tree
and threw the red ones down.
We ate until our hands were cold,
then carried baskets home,
while smoke rose from the field
and the first stars came out.
Caution: wet floor
Emergency exit on the left
Do not block this passage
First aid kit in room 104
Fire extinguisher inspected 2025
Push bar to open
Alarm will sound
Authorized personnel only
Account statement, page 2 of 5
Opening balance 1,284.07
Rent for March -850.00
Salary ACME Corp. +2,310.55
Electricity -76.31
Cash machine, Main Street -100.00
Insurance, quarterly -148.20
Closing balance 2,420.11
Lemon cake, twelve slices
200 g soft butter
180 g sugar, 4 eggs
Grated peel of two lemons
Stir in the flour slowly
Fill into a greased tin
Bake 50 minutes at 175 degrees
Dust with icing sugar
City Marathon 2026
Start: Old Town Bridge, 8:30
Distance 42.195 km
Water stations every 5 km
Time limit: six hours
Register before 30 June
Entry fee 65 euros
Runners must be 18 or older
Model KX-240 Power Drill
Rated input 710 W
No-load speed 0-2800 rpm
Chuck capacity 13 mm
Weight 2.1 kg without cable
Made in Portugal
Read the manual before use
Keep away from children
Tuesday, 14 October
Meeting with the architect
Bring plans of second floor
Lunch at Bella Roma, 12:30
Call Dr. Hofmann about results
Pick up shirts from cleaner
Train home leaves at 18:12
Water the plants!
Species: Common Kingfisher
Length 16 to 18 cm
Wingspan about 25 cm
Feeds on small fish and insects
Nests in tunnels near rivers
Lays five to seven eggs
Seen all year in mild winters
Protected since 1979
Adventure Films presents
THE LAST EXPEDITION
A story of ice and courage
Directed by Paula Brandt
In cinemas from December 4
Running time 118 minutes
Suitable for ages 12 and up
Winner of three awards
Room rates per night
Single room 89.00
Double room 124.00
Suite with balcony 210.00
Breakfast included
Extra bed on request 30.00
Check-in from 3 pm
Check-out until 11 am
Physics, Lecture 9
Energy is never lost
Force equals mass times acceleration
Light travels 299,792 km per second
Absolute zero: -273.15 C
Homework: problems 4 to 11
Hand in before Thursday noon
Exam on 22 January, hall H3
Summer Sale
Everything must go
Shoes from 29.90
Winter jackets half price
Up to 70% off selected items
Only while stocks last
Offer ends 31 August
Visit us at Queen Square 8
Dosage and directions
Adults: two tablets daily
Take with plenty of water
Do not exceed 6 in 24 hours
Not for children under twelve
Store below 25 degrees
Expiry date 09/2027
Lot number B7741X
Weather for Wednesday
Morning fog along the coast
Sunny spells from noon
Highs between 14 and 19
Wind from southwest, 20 km/h
Chance of rain 35 percent
Sunrise 06:21, sunset 19:48
Pollen level: moderate
Employee of the Month
Ms. Yolanda Fitzgerald
Department of Logistics
For outstanding service
and a safe working place
Signed: R. Vasquez, Director
Springfield, 5 November 2025
Certificate No. 000318
River Cruise Timetable
Castle Pier 10:15
Botanic Garden 10:40
Mill Island 11:05
Return trip every 90 minutes
Adults 14.50, children 7.25
Dogs travel free of charge
Groups please book ahead
Parking Regulations
Maximum stay two hours
Pay at the machine
Display ticket in windscreen
Electric vehicles bays 1-6
Disabled badge holders exempt
Vehicles left overnight
will be removed at owner's cost
"""
